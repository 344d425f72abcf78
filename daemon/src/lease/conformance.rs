//! The suite that every lease table passes.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::fence::Fence;
use super::holder::{Holder, HolderKind};
use super::table::{LeaseError, LeaseRow, LeaseTable};

/// Opens the lease table in a folder, or creates it.
pub(crate) type Open = dyn Fn(&Path) -> Box<dyn LeaseTable>;

/// Instantiates every case for a backend; `$open` is an [`Open`].
macro_rules! conformance {
    ($open:expr; $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::lease::conformance::$case(&$open);
        }
    )*};
    ($open:expr) => {
        $crate::lease::conformance::conformance! { $open;
            a_new_lease_is_free
            a_claim_names_its_holder_to_all
            of_two_claims_on_one_row_the_second_fails
            a_claim_on_a_row_that_was_renewed_fails
            numbers_only_grow
            a_renewal_is_seen_by_others
            an_overtaken_holder_can_neither_renew_nor_release
            a_released_lease_is_free_and_keeps_its_number
        }
    };
}
pub(crate) use conformance;

fn holder(lock: u128) -> Holder {
    let (what, since) = (HolderKind::Daemon, Timestamp::UNIX_EPOCH);
    Holder::this(what, since, Duration::from_secs(30), Uuid::from_u128(lock)).unwrap()
}

/// Claims the lease as it stands.
fn claim(table: &dyn LeaseTable, lock: u128) -> LeaseRow {
    let seen = table.read().unwrap();
    let fence = seen.fence.next();
    assert!(table.claim(&seen, fence, &holder(lock)).unwrap());
    table.read().unwrap()
}

fn is_fenced(result: &Result<(), LeaseError>) -> bool {
    matches!(result, Err(LeaseError::Fenced(_)))
}

pub(crate) fn a_new_lease_is_free(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let row = open(folder.path()).read().unwrap();
    assert_eq!(row.holder, None);
    assert_eq!(row.fence, Fence::default());
}

pub(crate) fn a_claim_names_its_holder_to_all(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (table, other) = (open(folder.path()), open(folder.path()));
    let row = claim(&*table, 1);
    assert_eq!(row.holder, Some(holder(1)));
    assert_eq!(row.fence, Fence::default().next());
    assert_eq!(other.read().unwrap(), row);
}

pub(crate) fn of_two_claims_on_one_row_the_second_fails(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (table, other) = (open(folder.path()), open(folder.path()));
    let seen = table.read().unwrap();
    let (first, second) = (seen.fence.next(), seen.fence.next().next());
    assert!(table.claim(&seen, first, &holder(1)).unwrap());
    assert!(!other.claim(&seen, first, &holder(2)).unwrap());
    assert!(!other.claim(&seen, second, &holder(2)).unwrap());
    assert_eq!(other.read().unwrap().holder, Some(holder(1)));
    table.renew(first).unwrap();
}

pub(crate) fn a_claim_on_a_row_that_was_renewed_fails(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let seen = claim(&*table, 1);
    table.renew(seen.fence).unwrap();
    assert!(!table.claim(&seen, seen.fence.next(), &holder(2)).unwrap());
    assert_eq!(table.read().unwrap().holder, Some(holder(1)));
}

pub(crate) fn numbers_only_grow(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let seen = table.read().unwrap();
    let far = Fence::stored(1000);
    assert!(table.claim(&seen, far, &holder(1)).unwrap());
    let seen = table.read().unwrap();
    for fence in [Fence::stored(999), far] {
        assert!(!table.claim(&seen, fence, &holder(2)).unwrap(), "{fence}");
    }
    table.release(far).unwrap();
    drop(table);
    let table = open(folder.path());
    assert_eq!(table.read().unwrap().fence, far);
    assert_eq!(claim(&*table, 2).fence, Fence::stored(1001));
}

pub(crate) fn a_renewal_is_seen_by_others(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (table, other) = (open(folder.path()), open(folder.path()));
    let before = claim(&*table, 1);
    table.renew(before.fence).unwrap();
    let after = other.read().unwrap();
    assert!(after.beat > before.beat);
    assert_eq!((after.fence, after.holder), (before.fence, before.holder));
}

pub(crate) fn an_overtaken_holder_can_neither_renew_nor_release(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let (table, other) = (open(folder.path()), open(folder.path()));
    let old = claim(&*table, 1);
    let new = claim(&*other, 2);
    assert!(new.fence > old.fence);
    assert!(is_fenced(&table.renew(old.fence)));
    assert!(is_fenced(&table.release(old.fence)));
    assert_eq!(table.read().unwrap(), new);
    other.renew(new.fence).unwrap();
}

pub(crate) fn a_released_lease_is_free_and_keeps_its_number(open: &Open) {
    let folder = tempfile::tempdir().unwrap();
    let table = open(folder.path());
    let held = claim(&*table, 1);
    table.release(held.fence).unwrap();
    let free = table.read().unwrap();
    assert_eq!((free.fence, free.holder), (held.fence, None));
    assert!(free.beat > held.beat, "whoever saw it held sees a change");
    assert_eq!(claim(&*table, 2).fence, held.fence.next());
}
