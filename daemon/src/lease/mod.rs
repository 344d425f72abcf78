//! Who may write a site's registry and ledger: one process at a time.
//!
//! A site has one lease. Its row ([`table`]) says who holds it, under which fencing number, and how
//! often the holder has renewed it; the number grows with every claim and is never given twice.
//! Registry and ledger each keep the number under which they were last opened, and every one of
//! their write transactions compares it with the writer's own ([`fence`]): whoever lost the lease
//! can still read, and change nothing, whatever it believes.
//!
//! That comparison is what keeps two writers apart. All the rest only decides how soon somebody
//! takes over:
//!
//! - [`watch`]: a standby takes over when the row has not changed for the lease's duration on its
//!   *own* clock. Clocks of two machines are never compared.
//! - [`lock`]: a holder keeps a file locked for as long as it lives and holds. Once the kernel has
//!   dropped that lock the holder is gone, and nobody need wait.
//! - [`process`]: a holder that was stopped inside a transaction keeps the database locked, or the
//!   turn to register, and no fence helps against that. When its lease has run out it is ended.
//! - [`held`]: a thread of the holder renews the lease, and ends the [`Tenure`]
//!   when it cannot; the tenure is what registry and ledger are opened under.
//!
//! [`keeper`] puts them together.
//!
//! # What a crash leaves
//!
//! | after              | left behind                        | next                                      |
//! |--------------------|------------------------------------|-------------------------------------------|
//! | a lock file made   | a file that nobody has locked      | a later holder removes it                 |
//! | the claim          | a row whose holder is gone         | taken over at once: its lock can be had   |
//! | the registry opened| its fence, with nothing written    | the same                                  |
//! | clean release      | nothing but the numbers            | taken at once                             |
//!
//! # Races
//!
//! - Two claim at once: the row is compared and set in one transaction, so one of them loses.
//! - One claims, is stopped before it has opened the registry, and another claims after it: the
//!   registry's fence only rises, so the first finds a higher one when it wakes up.
//! - The old holder writes to the registry between a claim and the new holder's opening: that
//!   write was before it, as if the lease had been claimed a moment later.
//! - The holder of a lease that has run out is stopped with a lock only after its successor has
//!   looked for one and before the claim, and the successor ends at once: nobody knows any more
//!   whom to end. It ends by itself when it is woken.
//! - The lock file is locked before the row names it, and its name is a new one each time: one
//!   that can be locked means that exactly the holder that the row names is gone. A file that is
//!   missing, or cannot be opened, means nothing.

pub mod fence;

pub mod process;

pub mod holder;

pub mod table;

pub mod watch;

pub mod lock;

pub mod held;

pub mod keeper;

#[cfg(test)]
pub(crate) mod conformance;

#[cfg(test)]
mod tests;

pub use self::fence::{End, Fence, Fenced, Tenure};
pub use self::held::Held;
pub use self::holder::{Holder, HolderKind};
pub use self::keeper::{Keeper, Standing, Vacancy};
pub use self::table::{LeaseError, LeaseRow, LeaseTable};
