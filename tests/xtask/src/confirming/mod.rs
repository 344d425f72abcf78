//! A run whose artifacts are all there and none is confirmed, as often as it is wanted: what the
//! benchmarks of confirming have in common.

mod bare;
mod subject;

pub(crate) use self::bare::{read_all, stat_all};
pub(crate) use self::subject::{Files, Subject, Taken};
