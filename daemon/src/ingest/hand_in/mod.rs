//! Takes a manifest that an operator hands in: now, and by the same flow as one that arrives.
//!
//! [`place`] puts it where a transfer would, [`take`] runs the flow over it and confirms what is
//! there. The operator says that the file is all there: what is wrong in itself is set aside at once;
//! what is cut may still grow, and stays waited for.

pub mod place;

mod take;

mod taken;

pub use self::place::Refused;
pub use self::take::{Step, take};
pub use self::taken::{Confirmed, Taken};
