//! Registers manifests: small ones together in one commit, a large one in batches.

use std::ops::ControlFlow;

use rusqlite::{Connection, Transaction};

use super::conflicts;
use super::failure::Failure;
use super::load::Load;
use crate::registry::RegistryError;
use crate::registry::conflict::Conflict;
use crate::registry::record::{Registered, Registration};
use crate::sqlite::Database;

/// What became of one manifest.
type Outcome = Result<Registered, Conflict>;

/// Registers `registrations` in order; commits after about `batch` rows.
pub(super) fn register(
    database: &Database,
    batch: u64,
    registrations: &[Registration<'_>],
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(registrations.len());
    let mut rows_done = 0;
    let mut rest = registrations;
    while let [first, others @ ..] = rest {
        // What is registered by this call was not there when the caller looked for conflicts.
        let check = !outcomes.is_empty();
        if first.rows.claims() > batch {
            let outcome = in_batches(database, batch, first, check, &mut |rows| {
                progress(rows_done + rows)
            })?;
            outcomes.push(outcome);
            rows_done += first.rows.claims();
            rest = others;
        } else {
            let (group, later) = rest.split_at(group_length(rest, batch));
            outcomes.extend(in_one_commit(database, group, check, &mut || {
                progress(rows_done)
            })?);
            rows_done += group.iter().map(|one| one.rows.claims()).sum::<u64>();
            rest = later;
        }
        // What is registered by now is told even to a caller that breaks off.
        if progress(rows_done).is_break() && !rest.is_empty() {
            return Err(RegistryError::Interrupted.into());
        }
    }
    Ok(outcomes)
}

/// How many of the first registrations fit into one commit; at least one.
fn group_length(registrations: &[Registration<'_>], batch: u64) -> usize {
    let mut rows = 0;
    let fitting = registrations.iter().take_while(|registration| {
        rows += registration.rows.claims();
        rows <= batch
    });
    fitting.count().max(1)
}

fn in_one_commit(
    database: &Database,
    group: &[Registration<'_>],
    check: bool,
    alive: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Vec<Outcome>, Failure> {
    database.write(|begun| {
        let mut outcomes = Vec::with_capacity(group.len());
        for registration in group {
            let check = check || !outcomes.is_empty();
            outcomes.push(whole(begun, registration, check, alive)?);
        }
        note_change(begun)?;
        Ok(outcomes)
    })
}

/// Registers a manifest to its end; a conflict leaves nothing of it and the transaction goes on.
fn whole(
    begun: &mut Transaction<'_>,
    registration: &Registration<'_>,
    check: bool,
    alive: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Outcome, Failure> {
    let attempt = begun.savepoint()?;
    let registered = (|| {
        let mut load = begin(&attempt, registration, check, alive)?;
        while !load.is_done() {
            load.step(&attempt, u64::MAX)?;
        }
        load.finish(&attempt)
    })();
    match registered {
        Ok(registered) => {
            attempt.commit()?;
            Ok(Ok(registered))
        }
        // Dropping the savepoint rolls back to it.
        Err(Failure::Conflict(conflict)) => Ok(Err(*conflict)),
        Err(failure) => Err(failure),
    }
}

/// Registers a manifest with a commit after every batch, each of which also saves how far it
/// has come; goes on from there where an earlier attempt was interrupted. A conflict that shows
/// after the first commit is no outcome but a failure: some of the manifest is registered.
fn in_batches(
    database: &Database,
    batch: u64,
    registration: &Registration<'_>,
    check: bool,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Outcome, Failure> {
    let begun = database.write(|begun| {
        let load = begin(begun, registration, check, &mut || progress(0))?;
        load.save(begun)?;
        note_change(begun)?;
        Ok(load)
    });
    let mut load = match begun {
        Err(Failure::Conflict(conflict)) => return Ok(Err(*conflict)),
        begun => begun?,
    };
    loop {
        if progress(load.rows_done()).is_break() {
            return Err(RegistryError::Interrupted.into());
        }
        let registered = database.write(|begun| {
            load.catch_up(begun)?;
            load.step(begun, batch)?;
            note_change(begun)?;
            if load.is_done() {
                return load.finish(begun).map(Some);
            }
            load.save(begun)?;
            Ok::<_, Failure>(None)
        })?;
        if let Some(registered) = registered {
            return Ok(Ok(registered));
        }
    }
}

fn begin<'a>(
    connection: &Connection,
    registration: &'a Registration<'a>,
    check: bool,
    alive: &mut dyn FnMut() -> ControlFlow<()>,
) -> Result<Load<'a>, Failure> {
    if check {
        let found = conflicts::find(connection, registration, &[], 1, &mut |_| alive())?;
        if let Some(conflict) = found.into_iter().next() {
            return Err(Failure::Conflict(Box::new(conflict)));
        }
    }
    Load::begin(connection, registration)
}

/// Counts a commit.
pub(super) fn note_change(connection: &Connection) -> Result<(), Failure> {
    connection
        .prepare_cached("UPDATE meta SET changes = changes + 1")?
        .execute([])?;
    Ok(())
}
