//! What should be: files, records, findings, and what repairs may do about them.
//!
//! The model knows nothing of how it is done. It is told what was done to a site, and says what follows by the words
//! of docs/SCANS.md and docs/REPAIR.md.

mod state;

mod clock;

mod policy;

mod scan;

mod plan;

mod repair;

pub(crate) use self::clock::later;
pub(crate) use self::plan::{Ask, Item, Plan, Refused};
pub(crate) use self::policy::Policy;
pub(crate) use self::repair::{Became, Meanwhile, Went};
pub(crate) use self::scan::{Reads, Scope, Way};
pub(crate) use self::state::{
    Aside, Claim, Coming, Lying, Model, Removal, Run, Standing, fold, is_temporary,
};
