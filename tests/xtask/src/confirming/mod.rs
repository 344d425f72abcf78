//! A run whose artifacts are all there and none is confirmed, as often as it is wanted: what the
//! benchmarks of confirming have in common.

mod bare;
mod subject;

pub(crate) use self::bare::{read_all, stat_all};
pub(crate) use self::subject::{Files, Subject, Taken};

/// As a floating point number, for rates.
pub(crate) fn number(count: u64) -> f64 {
    u32::try_from(count).map_or_else(
        |_| f64::from(u32::try_from(count >> 16).unwrap_or(u32::MAX)) * 65_536.0,
        f64::from,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_counts_are_numbers_too() {
        assert!((number(1_000_000) - 1e6).abs() < f64::EPSILON);
        assert!((number(4 << 30) - 4_294_967_296.0).abs() < f64::EPSILON);
    }
}
