//! Which artifacts a pass reads: a share that is another one with every pass, and the same one when a pass that
//! was interrupted goes on.

use sha2::{Digest, Sha256};

use super::order::Checks;

/// The choice of one pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Of all values that a path may hash to, those below are chosen; none: all.
    below: Option<u64>,
    pass: u64,
}

impl Sample {
    pub(super) fn new(checks: Checks, pass: u64) -> Self {
        let below = match checks {
            Checks::None => Some(0),
            Checks::Full => None,
            Checks::Sampled(rate) => Some(share(rate)),
        };
        Self { below, pass }
    }

    pub(super) fn holds(&self, path: &str) -> bool {
        match self.below {
            None => true,
            Some(0) => false,
            Some(below) => hash(self.pass, path) < below,
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share needs no more digits than a float has, and casts from floats saturate"
)]
fn share(rate: f64) -> u64 {
    (rate.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

fn hash(pass: u64, path: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(pass.to_be_bytes())
        .chain_update(path)
        .finalize();
    let first = digest.iter().take(8);
    first.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_chosen_anew_with_every_pass() {
        let chosen = |pass| -> Vec<u32> {
            let sample = Sample::new(Checks::Sampled(0.1), pass);
            let all = 0..10_000;
            all.filter(|number| sample.holds(&format!("a/{number}")))
                .collect()
        };
        let (one, other) = (chosen(1), chosen(2));
        assert!((800..1_200).contains(&one.len()), "{}", one.len());
        assert_eq!(one, chosen(1));
        assert_ne!(one, other);
    }

    #[test]
    fn none_and_all_are_what_they_say() {
        assert!(!Sample::new(Checks::None, 1).holds("a"));
        assert!(Sample::new(Checks::Full, 1).holds("a"));
    }
}
