//! Which stretches of paths a pass has drawn conclusions in: what it went through, less the holes in it.

use super::scans::Span;

/// What is left of a stretch without its holes, which may overlap and come in any order.
pub fn without(whole: &Span, holes: &[Span]) -> Vec<Span> {
    let mut holes: Vec<&Span> = holes.iter().collect();
    holes.sort_by(|a, b| a.from.cmp(&b.from));
    let mut left = Vec::new();
    let mut from = whole.from.clone();
    for hole in holes {
        let until = match &whole.until {
            Some(end) if *end < hole.from => end.clone(),
            Some(_) | None => hole.from.clone(),
        };
        push(&mut left, &from, Some(until));
        match &hole.until {
            None => return left,
            Some(until) if *until > from => from.clone_from(until),
            Some(_) => {}
        }
    }
    push(&mut left, &from, whole.until.clone());
    left
}

fn push(spans: &mut Vec<Span>, from: &str, until: Option<String>) {
    let from = from.to_owned();
    let span = Span { from, until };
    if !span.is_empty() {
        spans.push(span);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn span() -> impl Strategy<Value = Span> {
        ("[ab]{0,3}", proptest::option::of("[abc]{0,3}"))
            .prop_map(|(from, until)| Span { from, until })
    }

    proptest! {
        #[test]
        fn a_path_is_left_where_it_is_in_the_whole_and_in_no_hole(
            whole in span(), holes in proptest::collection::vec(span(), 0..4), path in "[abc]{0,4}",
        ) {
            let left = without(&whole, &holes);
            let expected = whole.holds(&path) && !holes.iter().any(|hole| hole.holds(&path));
            prop_assert_eq!(left.iter().any(|span| span.holds(&path)), expected, "{:?}", left);
        }
    }
}
