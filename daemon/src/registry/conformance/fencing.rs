//! A process that has lost the lease changes nothing.

use std::ops::ControlFlow;

use jiff::Timestamp;
use runsync_manifest::generation::Generation;
use uuid::Uuid;

use super::support::{Manifest, Open, Site, claims, root, run};
use crate::registry::RegistryError;
use crate::registry::collection::Chaining;
use crate::registry::removal::{Extent, Operation, Removal, RunPart};

pub(crate) fn an_old_fence_writes_nothing(open: &Open) {
    let site = Site::new(open);
    site.register(&Manifest::new(&run("u/a"), 1, claims(0..10)))
        .unwrap();
    let waiting = site.waiting(&run("u/a"));
    let new = site.overtake();
    let (before, changes) = (site.dump(), new.changes().unwrap());

    let old = site.registry();
    let manifest = Manifest::new(&run("u/b"), 1, claims(10..20));
    let registered = old.register(&[manifest.registration()], &mut |_| {
        ControlFlow::Continue(())
    });
    let (key, id) = (run("u/a"), Uuid::new_v4());
    let parts = [(RunPart::whole(key.clone()), Extent::default())];
    let removal = Removal {
        id,
        operation: Operation::DropCopy,
        account: "alice",
        at: Timestamp::UNIX_EPOCH,
        parts: &parts,
        floors: &[],
        journals: &[],
        notices: &[],
        chain: None,
    };
    for (method, refused) in [
        ("check_fence", old.check_fence()),
        ("remove", old.remove(&removal)),
        ("may_reap", old.may_reap(id)),
        ("reap", old.reap(10).map(drop)),
        ("journal_closed", old.journal_closed(id, &root())),
        (
            "wait_for_late",
            old.wait_for_late(id, &root(), Timestamp::UNIX_EPOCH),
        ),
        ("followed", old.followed(&key, Generation::FIRST)),
        ("restore", old.restore(&[parts[0].0.clone()])),
        ("bring_back", old.bring_back(10).map(drop)),
        ("register", registered.map(drop)),
        (
            "raise_floor",
            old.raise_floor(&run("u/a"), Generation::FIRST),
        ),
        (
            "confirm",
            old.confirm(&run("u/a"), &root(), &waiting).map(drop),
        ),
        (
            "change_collection",
            super::collections::chain(old, "c", &["u/a"], Chaining::Set).map(drop),
        ),
    ] {
        let fenced = refused.as_ref().is_err_and(RegistryError::is_fenced);
        assert!(fenced, "{method}: {refused:?}");
    }
    assert_eq!(site.dump(), before, "and it still reads");
    assert_eq!(new.changes().unwrap(), changes);
    new.check_fence().unwrap();
    assert_eq!(new.confirm(&run("u/a"), &root(), &waiting).unwrap(), 10);
}

pub(crate) fn a_registration_that_is_overtaken_between_two_commits_is_ended_by_the_next_owner(
    open: &Open,
) {
    let site = Site::with_batches(open, 4);
    let manifest = Manifest::new(&run("u/a"), 1, claims(0..30));
    let mut new = None;
    let refused = site
        .registry()
        .register(&[manifest.registration()], &mut |rows| {
            if rows > 0 && new.is_none() {
                new = Some(site.overtake());
            }
            ControlFlow::Continue(())
        })
        .unwrap_err();
    assert!(refused.is_fenced(), "{refused:?}");
    let new = new.unwrap();
    assert_eq!(new.registering().unwrap().len(), 1);
    new.register(&[manifest.registration()], &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(new.registering().unwrap(), []);
    assert_eq!(new.run(&run("u/a")).unwrap().unwrap().datasets, 30);
    site.check_counters();
}
