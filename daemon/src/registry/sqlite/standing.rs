//! Asks again about a conflict found earlier, without the manifest that it was found in.

use runsync_manifest::name::{DatasetId, DatasetTypeName, RunKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::conflicts::{HELD_DATA_ID, contradictions, prepare_at_path, removal_under_way};
use super::failure::Failure;
use super::names;
use super::rows::{dataset_id, generation};
use crate::registry::conflict::{Conflict, PathClaim};

/// Whether a conflict found earlier still stands.
pub(super) fn still_stands(connection: &Connection, conflict: &Conflict) -> Result<bool, Failure> {
    match conflict {
        Conflict::DatasetHeld {
            uuid,
            held_run,
            held_type,
            held_data_id,
        } => Ok(connection
            .prepare_cached(
                "SELECT 1 FROM dataset
                 JOIN run USING (run_id) JOIN dataset_type USING (dataset_type_id)
                 WHERE uuid = ?1 AND run.name = ?2 AND run.origin = ?3
                     AND dataset_type.name = ?4 AND data_id = ?5",
            )?
            .exists(params![
                uuid.0.as_bytes(),
                held_run.name.as_str(),
                held_run.origin.0.as_bytes(),
                held_type.as_str(),
                held_data_id
            ])?),
        Conflict::DataIdHeld {
            run,
            dataset_type,
            data_id,
            uuid,
            ..
        } => data_id_is_held(connection, (run, dataset_type, data_id), *uuid),
        Conflict::PathHeld {
            root,
            path,
            held_by,
            claim,
        } => {
            let Some(root_id) = names::find_root(connection, root)? else {
                return Ok(false);
            };
            if claims_nothing(connection, claim)? {
                return Ok(false);
            }
            let mut at_path = prepare_at_path(connection)?;
            let artifact = (claim.size, &claim.checksums);
            let held = contradictions(&mut at_path, root_id, path.as_str(), artifact)?;
            Ok(held.iter().any(|holder| holder.uuid == *held_by))
        }
        Conflict::DatasetTypeDiffers { manifest, .. } => {
            let known = names::find_dataset_type(connection, &manifest.name)?;
            Ok(known.is_some_and(|(_, known)| !names::same_definition(&known, manifest)))
        }
        Conflict::RemovalUnderWay { run } => Ok(removal_under_way(connection, run)?.is_some()),
        // Nobody asks for one that nothing resolves.
        Conflict::RunTooLarge { .. } => Ok(true),
        Conflict::DimensionMissing { element, key } => Ok(!connection
            .prepare_cached("SELECT 1 FROM dimension_record WHERE element = ?1 AND key = ?2")?
            .exists([element, key])?),
    }
}

fn data_id_is_held(
    connection: &Connection,
    (run, dataset_type, data_id): (&RunKey, &DatasetTypeName, &str),
    uuid: DatasetId,
) -> Result<bool, Failure> {
    let (Some(run_id), Some((dataset_type_id, _))) = (
        names::find_run(connection, run)?,
        names::find_dataset_type(connection, dataset_type)?,
    ) else {
        return Ok(false);
    };
    let held_by = connection
        .prepare_cached(HELD_DATA_ID)?
        .query_row(params![run_id, dataset_type_id, data_id], |row| {
            dataset_id(row, 0)
        })
        .optional()?;
    Ok(held_by.is_some_and(|held_by| held_by != uuid))
}

/// Whether a later manifest has taken the claim's dataset over.
fn claims_nothing(connection: &Connection, claim: &PathClaim) -> Result<bool, Failure> {
    let held = connection
        .prepare_cached("SELECT epoch, sequence FROM dataset WHERE uuid = ?1")?
        .query_row([claim.uuid.0.as_bytes()], |row| generation(row, 0))
        .optional()?
        .flatten();
    Ok(held.is_some_and(|held| held >= claim.generation))
}
