//! Generations of a run that were never seen. They are told, and block nothing.

use runsync_manifest::generation::Generation;

/// Most missing generations named for one run: a hostile sequence number costs no memory.
const NAMED: usize = 100;

/// The generations missing among `accepted` (ascending) above the floor. An epoch's sequence
/// starts at 1 only in epoch 1; a later epoch starts where its origin says.
pub fn missing(accepted: &[Generation], floor: Option<Generation>) -> Vec<Generation> {
    let mut missing = Vec::new();
    let mut expected = floor.map_or(Some(Generation::FIRST), Generation::next);
    for found in accepted
        .iter()
        .filter(|found| floor.is_none_or(|floor| **found > floor))
    {
        while let Some(next) = expected
            && next.epoch == found.epoch
            && next < *found
            && missing.len() < NAMED
        {
            missing.push(next);
            expected = next.next();
        }
        expected = found.next();
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generations(texts: &[&str]) -> Vec<Generation> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn missing_in(accepted: &[&str], floor: Option<&str>) -> Vec<Generation> {
        missing(
            &generations(accepted),
            floor.map(|floor| floor.parse().unwrap()),
        )
    }

    #[test]
    fn a_gap_is_named() {
        assert_eq!(
            missing_in(&["1-1", "1-4"], None),
            generations(&["1-2", "1-3"])
        );
        assert_eq!(missing_in(&["1-2"], None), generations(&["1-1"]));
        assert_eq!(missing_in(&["1-1", "1-2", "1-3"], None), []);
    }

    #[test]
    fn nothing_is_missing_at_or_below_the_floor() {
        assert_eq!(
            missing_in(&["1-1", "1-5", "1-7"], Some("1-5")),
            generations(&["1-6"])
        );
        assert_eq!(missing_in(&["2-9"], Some("1-5")), []);
    }

    #[test]
    fn a_huge_gap_is_named_in_part() {
        assert_eq!(missing_in(&["1-4000000000"], None).len(), NAMED);
    }
}
