//! How far messages of each partition were given, and not acknowledged yet.

use std::collections::BTreeMap;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    /// The topic.
    pub(super) topic: String,
    /// Its number within the topic.
    pub(super) number: i32,
}

/// For each partition, the offset of the message after the last that was given.
#[derive(Debug, Default)]
pub(super) struct Positions(BTreeMap<Partition, i64>);

impl Positions {
    /// Notes that the message at `offset` was given.
    pub(super) fn give(&mut self, topic: &str, number: i32, offset: i64) {
        let partition = Partition {
            topic: topic.to_owned(),
            number,
        };
        let next = offset.saturating_add(1);
        let position = self.0.entry(partition).or_insert(next);
        *position = next.max(*position);
    }

    /// Forgets partitions that were taken away.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.0.remove(partition);
        }
    }

    /// Whether nothing is to be acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes all of them, by partition.
    pub(super) fn take(&mut self) -> BTreeMap<Partition, i64> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, number: i32) -> Partition {
        Partition {
            topic: topic.to_owned(),
            number,
        }
    }

    #[test]
    fn each_partition_is_read_up_to_the_message_after_the_last() {
        let mut positions = Positions::default();
        for (topic, number, offset) in [("a", 0, 7), ("b", 0, 1), ("a", 1, 3), ("a", 0, 8)] {
            positions.give(topic, number, offset);
        }
        let taken: Vec<_> = positions.take().into_iter().collect();
        let expected = [
            (partition("a", 0), 9),
            (partition("a", 1), 4),
            (partition("b", 0), 2),
        ];
        assert_eq!(taken, expected);
        assert!(positions.is_empty());
    }

    #[test]
    fn what_was_taken_away_is_not_acknowledged() {
        let mut positions = Positions::default();
        positions.give("a", 0, 7);
        positions.give("a", 1, 7);
        positions.forget(&[partition("a", 0), partition("z", 9)]);
        assert_eq!(
            positions.take().into_keys().collect::<Vec<_>>(),
            [partition("a", 1)]
        );
    }
}
