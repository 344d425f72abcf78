//! Figures of several rounds.

/// The middle one, or the upper of the two in the middle; NaN of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// The one that so large a share lies below.
pub(crate) fn percentile(values: impl IntoIterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a share of a length is an index"
    )]
    let at = (values.len() as f64 * share) as usize;
    let last = values.len().saturating_sub(1);
    values.get(at.min(last)).copied().unwrap_or(f64::NAN)
}

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

    #[test]
    fn shares_of_values_are_found() {
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        let hundred = || (1..=100).map(f64::from);
        assert!((percentile(hundred(), 0.99) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(hundred(), 1.0) - 100.0).abs() < f64::EPSILON);
        assert!(median([]).is_nan());
    }
}
