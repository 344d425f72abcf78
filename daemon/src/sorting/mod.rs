//! Sorts more than memory holds: what reading a manifest and publishing one have in common.

mod arena;

mod run;

mod merge;

mod sorter;

pub(crate) use self::sorter::{Cursor, Sorted, Sorter};
