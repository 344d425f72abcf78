//! Joins a listing with the records, both in the bytewise order of paths: pure, one of each in memory.

use std::cmp::Ordering;

use runsync_manifest::name::ArtifactPath;

use crate::datastore::{SeenFile, Sight, StorageFault};
use crate::ledger::scans::Span;
use crate::registry::record::ArtifactAt;

/// What is known of one path, by both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Met {
    /// A file, and what runs say of it.
    Both(SeenFile, ArtifactAt),
    /// A file that no run names.
    File(SeenFile),
    /// What runs say of a file that was not listed.
    Record(ArtifactAt),
    /// Something that is no regular file, and what runs say of it.
    Irregular(ArtifactPath, Option<ArtifactAt>),
    /// Something that cannot be looked at.
    Unreadable(ArtifactPath),
    /// A folder that could not be listed whole; none: all of the root.
    Unlisted(Option<ArtifactPath>, StorageFault),
    /// A folder that is another root.
    OtherRoot(ArtifactPath),
    /// What runs say of a file below a folder that could not be listed whole.
    Unjudged(ArtifactAt),
    /// What runs say of a file below a folder that is another root.
    Elsewhere(ArtifactAt),
    /// A name that no artifact can have.
    Unnameable(String),
}

impl Met {
    /// The one path that it says something about; none where that is no path, or more than one.
    pub(super) fn path(&self) -> Option<&ArtifactPath> {
        match self {
            Self::Both(SeenFile { path, .. }, _)
            | Self::File(SeenFile { path, .. })
            | Self::Record(ArtifactAt { path, .. })
            | Self::Irregular(path, _)
            | Self::Unreadable(path)
            | Self::Unjudged(ArtifactAt { path, .. })
            | Self::Elsewhere(ArtifactAt { path, .. }) => Some(path),
            Self::Unlisted(..) | Self::OtherRoot(_) | Self::Unnameable(_) => None,
        }
    }

    /// What it says something about; none where that is no path.
    pub(super) fn span(&self) -> Option<Span> {
        match self {
            Self::Unlisted(folder, _) => Some(Span::below(folder.as_ref())),
            Self::OtherRoot(folder) => Some(Span::below(Some(folder))),
            Self::Both(..)
            | Self::File(_)
            | Self::Record(_)
            | Self::Irregular(..)
            | Self::Unreadable(_)
            | Self::Unjudged(_)
            | Self::Elsewhere(_)
            | Self::Unnameable(_) => self.path().map(|path| Span::at(path.as_str())),
        }
    }
}

/// A listing and records on their way.
#[derive(Debug)]
pub(super) struct Merge<S, R> {
    sights: S,
    records: R,
    sight: Option<Sight>,
    record: Option<ArtifactAt>,
    /// The folder that was met last and is not judged: it could not be listed, or is another root.
    closed: Option<Span>,
    /// Whether that one is another root.
    is_other: bool,
}

impl<S, R, E> Merge<S, R>
where
    S: Iterator<Item = Sight>,
    R: Iterator<Item = Result<ArtifactAt, E>>,
{
    pub(super) fn new(sights: S, records: R) -> Self {
        Self {
            sights,
            records,
            sight: None,
            record: None,
            closed: None,
            is_other: false,
        }
    }

    /// The listing.
    pub(super) fn sights(&mut self) -> &mut S {
        &mut self.sights
    }

    /// The next path of either side; none at the end of both.
    pub(super) fn next(&mut self) -> Result<Option<Met>, E> {
        if self.sight.is_none() {
            self.sight = self.sights.next();
        }
        if self.record.is_none() {
            self.record = self.records.next().transpose()?;
        }
        if let Some(record) = self.take_closed() {
            return Ok(Some(record));
        }
        let met = match (self.sight.take(), self.record.take()) {
            (None, None) => return Ok(None),
            (None, Some(record)) => Met::Record(record),
            (Some(sight), None) => alone(sight),
            (Some(sight), Some(record)) => match compare(&sight, record.path.as_str()) {
                Ordering::Less => {
                    self.record = Some(record);
                    alone(sight)
                }
                Ordering::Greater => {
                    self.sight = Some(sight);
                    Met::Record(record)
                }
                Ordering::Equal => both(sight, record),
            },
        };
        if let Met::Unlisted(..) | Met::OtherRoot(_) = &met {
            self.closed = met.span();
            self.is_other = matches!(met, Met::OtherRoot(_));
        }
        Ok(Some(met))
    }

    /// The next record, where its folder is not judged.
    fn take_closed(&mut self) -> Option<Met> {
        let closed = self.closed.as_ref()?;
        let record = (self.record).take_if(|record| closed.holds(record.path.as_str()))?;
        Some(if self.is_other {
            Met::Elsewhere(record)
        } else {
            Met::Unjudged(record)
        })
    }
}

/// How a sight stands to a path. A name that stands nowhere comes first.
fn compare(sight: &Sight, path: &str) -> Ordering {
    match sight {
        Sight::File(file) => file.path.as_str().cmp(path),
        Sight::Irregular(own) | Sight::Unreadable(own, _) => own.as_str().cmp(path),
        Sight::Unlisted(folder, _) => {
            let folder = folder.as_ref().map_or("", ArtifactPath::as_str);
            folder.bytes().chain([b'/']).cmp(path.bytes())
        }
        Sight::OtherRoot(folder) => {
            let folder = folder.as_str().bytes();
            folder.chain([b'/']).cmp(path.bytes())
        }
        Sight::Unnameable(_) => Ordering::Less,
    }
}

fn alone(sight: Sight) -> Met {
    match sight {
        Sight::File(file) => Met::File(file),
        Sight::Irregular(path) => Met::Irregular(path, None),
        Sight::Unreadable(path, _) => Met::Unreadable(path),
        Sight::Unnameable(name) => Met::Unnameable(name),
        Sight::Unlisted(folder, fault) => Met::Unlisted(folder, fault),
        Sight::OtherRoot(folder) => Met::OtherRoot(folder),
    }
}

fn both(sight: Sight, record: ArtifactAt) -> Met {
    match sight {
        Sight::File(file) => Met::Both(file, record),
        Sight::Irregular(path) => Met::Irregular(path, Some(record)),
        Sight::Unreadable(path, _) => Met::Unreadable(path),
        // Neither is a path.
        Sight::Unnameable(_) | Sight::Unlisted(..) | Sight::OtherRoot(_) => Met::Unjudged(record),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    use proptest::prelude::*;
    use runsync_manifest::checksum::{Adler32, Checksums};

    use super::*;
    use crate::file_identity::FileIdentity;
    use crate::registry::record::ArtifactStanding;

    fn file(path: &ArtifactPath) -> Sight {
        Sight::File(SeenFile {
            path: path.clone(),
            identity: FileIdentity {
                size: 1,
                modified_ns: 0,
                inode: 0,
            },
            changed_ns: 0,
        })
    }

    fn record(path: &ArtifactPath) -> ArtifactAt {
        ArtifactAt {
            path: path.clone(),
            standing: ArtifactStanding::Confirmed,
            size: 1,
            checksums: Checksums {
                adler32: Adler32([0; 4]),
                md5: None,
                sha256: None,
            },
            busy: false,
        }
    }

    /// What is said of each path, in words.
    fn told(sights: Vec<Sight>, records: Vec<ArtifactAt>) -> Vec<(String, &'static str)> {
        let records = records.into_iter().map(Ok::<_, Infallible>);
        let mut merge = Merge::new(sights.into_iter(), records);
        let mut told = Vec::new();
        while let Some(met) = merge.next().unwrap() {
            let word = match &met {
                Met::Both(..) => "both",
                Met::File(_) => "file",
                Met::Record(_) => "record",
                Met::Unjudged(_) => "unjudged",
                Met::Elsewhere(_) => "elsewhere",
                Met::Irregular(..) => "irregular",
                Met::Unreadable(_) => "unreadable",
                Met::Unlisted(..) => "unlisted",
                Met::OtherRoot(_) => "another root",
                Met::Unnameable(_) => "unnameable",
            };
            told.push((met.span().map(|span| span.from).unwrap_or_default(), word));
        }
        told
    }

    #[test]
    fn nothing_below_a_folder_that_was_not_listed_is_judged() {
        let path = |text: &str| text.parse::<ArtifactPath>().unwrap();
        let records = ["a", "b-1", "b/1", "b/c/2", "b0", "c"].map(|text| record(&path(text)));
        let sights = vec![
            file(&path("a")),
            Sight::Unnameable("\u{1}".to_owned()),
            Sight::Unlisted(Some(path("b")), StorageFault(13)),
            file(&path("c")),
        ];
        let told = told(sights, records.to_vec());
        let told: Vec<_> = told.iter().map(|(at, word)| (at.as_str(), *word)).collect();
        let expected = [
            ("a", "both"),
            ("", "unnameable"),
            ("b-1", "record"),
            ("b/", "unlisted"),
            ("b/1", "unjudged"),
            ("b/c/2", "unjudged"),
            ("b0", "record"),
            ("c", "both"),
        ];
        assert_eq!(told, expected);
    }

    /// Few letters, of which `-` comes before `/` and `0` after it.
    fn paths() -> impl Strategy<Value = BTreeSet<ArtifactPath>> {
        let path = proptest::collection::vec("[a0-]{1,2}", 1..4);
        let path = path.prop_filter_map("an artifact's", |parts| parts.join("/").parse().ok());
        proptest::collection::btree_set(path, 0..12)
    }

    proptest! {
        #[test]
        fn every_path_is_told_once_in_order_as_a_naive_comparison_tells_it(
            files in paths(), records in paths(), closed in paths(),
        ) {
            let closed = closed.into_iter().next();
            let span = closed.as_ref().map(|folder| Span::below(Some(folder)));
            let is_closed = |path: &ArtifactPath| {
                span.as_ref().is_some_and(|span| span.holds(path.as_str()))
            };
            let mut expected: BTreeMap<String, &'static str> = BTreeMap::new();
            for path in files.iter().filter(|path| !is_closed(path)) {
                let word = if records.contains(path) { "both" } else { "file" };
                expected.insert(path.to_string(), word);
            }
            for path in &records {
                let word = if is_closed(path) { "unjudged" } else { "record" };
                expected.entry(path.to_string()).or_insert(word);
            }
            let mut sights: Vec<Sight> = files.iter().filter(|path| !is_closed(path)).map(file).collect();
            if let Some(folder) = closed {
                expected.insert(format!("{folder}/"), "unlisted");
                sights.push(Sight::Unlisted(Some(folder), StorageFault(5)));
            }
            sights.sort_by_key(Sight::key);
            let told = told(sights, records.iter().map(record).collect());
            prop_assert_eq!(told, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
