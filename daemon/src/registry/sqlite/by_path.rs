//! All artifacts of a root in the order of their paths, page by page: what a listing is joined with.
//!
//! `record_by_path` has them in that order; each row of it is one search in `record`. Only while anything is being
//! registered, restored or removed does it matter whose it is: then it is one in `dataset` too. A record is never
//! without its dataset, as both are written, and go, in one commit.

use runsync_config::root::RootName;
use runsync_manifest::name::ArtifactPath;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Row, params};

use super::at_paths::Standings;
use super::failure::Failure;
use super::names;
use super::rows::{self, AWAITED, CONFIRMED};
use crate::registry::record::{ArtifactAt, ArtifactStanding};

/// Claims by path; [`rows::CHECKSUM_COLUMNS`] come first.
const BY_PATH: &str = "SELECT record.adler32, record.md5, record.sha256, record.size,
         record.confirmed, record.uuid, dataset.run_id, by_path.path
     FROM record_by_path AS by_path
     CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
         AND record.root_id = by_path.root_id AND record.path = by_path.path
     CROSS JOIN dataset ON dataset.uuid = record.uuid
     WHERE by_path.path >= ?2 AND by_path.path < ?3 AND by_path.root_id = ?1
     ORDER BY by_path.path";

/// The same while nothing is under way: without the run, which needs another search.
const BY_PATH_SETTLED: &str = "SELECT record.adler32, record.md5, record.sha256, record.size,
         record.confirmed, NULL, NULL, by_path.path
     FROM record_by_path AS by_path
     CROSS JOIN record ON record.uuid = by_path.uuid AND record.component = by_path.component
         AND record.root_id = by_path.root_id AND record.path = by_path.path
     WHERE by_path.path >= ?2 AND by_path.path < ?3 AND by_path.root_id = ?1
     ORDER BY by_path.path";

pub(super) fn page(
    connection: &Connection,
    root: &RootName,
    (from, until): (&str, Option<&str>),
    limit: usize,
) -> Result<Vec<ArtifactAt>, Failure> {
    let Some(root_id) = names::find_root(connection, root)? else {
        return Ok(Vec::new());
    };
    let standings = Standings::load(connection)?;
    // Every text sorts before every blob.
    let until = until.map_or(ValueRef::Blob(&[]), |text| ValueRef::Text(text.as_bytes()));
    let under_way = (!standings.all_settled()).then_some(&standings);
    let mut statement = connection.prepare_cached(match under_way {
        Some(_) => BY_PATH,
        None => BY_PATH_SETTLED,
    })?;
    let mut claims = statement.query(params![root_id, from, ToSqlOutput::Borrowed(until)])?;
    let mut page: Vec<ArtifactAt> = Vec::with_capacity(limit.min(PAGE_MAX));
    while let Some(claim) = claims.next()? {
        let path = claim.get_ref(7)?.as_str().map_err(rusqlite::Error::from)?;
        let full = page.len() == limit;
        match page.last_mut() {
            Some(last) if last.path.as_str() == path => {
                let path = last.path.clone();
                let other = artifact(under_way, claim, path)?;
                fold(last, other);
            }
            Some(_) | None if full => break,
            Some(_) | None => {
                let path = rows::path(path.to_owned())?;
                page.push(artifact(under_way, claim, path)?);
            }
        }
    }
    Ok(page)
}

/// Room that is made for a page at once.
const PAGE_MAX: usize = 4_096;

/// What a claim says of its artifact; `under_way` tells whether it is to change, where anything is.
fn artifact(
    under_way: Option<&Standings<'_>>,
    row: &Row<'_>,
    path: ArtifactPath,
) -> Result<ArtifactAt, Failure> {
    let busy = match under_way {
        Some(standings) => standings.is_busy(row.get(6)?, rows::dataset_id(row, 5)?)?,
        None => false,
    };
    Ok(ArtifactAt {
        path,
        standing: match row.get(4)? {
            AWAITED => ArtifactStanding::Awaited,
            CONFIRMED => ArtifactStanding::Confirmed,
            _ => ArtifactStanding::Absent,
        },
        size: rows::count(row, 3)?,
        checksums: rows::checksums(row)?,
        busy,
    })
}

/// Adds what another claim says of the same artifact.
fn fold(artifact: &mut ArtifactAt, other: ArtifactAt) {
    let busy = artifact.busy || other.busy;
    if rank(other.standing) > rank(artifact.standing) {
        *artifact = other;
    } else if other.standing == artifact.standing {
        let said = (artifact.size, &artifact.checksums);
        if rows::agree(said, (other.size, &other.checksums)) {
            let sums = &mut artifact.checksums;
            sums.md5 = sums.md5.or(other.checksums.md5);
            sums.sha256 = sums.sha256.or(other.checksums.sha256);
        }
    }
    artifact.busy = busy;
}

fn rank(standing: ArtifactStanding) -> u8 {
    match standing {
        ArtifactStanding::Absent => 0,
        ArtifactStanding::Awaited => 1,
        ArtifactStanding::Confirmed => 2,
    }
}
