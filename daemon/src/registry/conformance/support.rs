//! Makes registries and manifests for the cases.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use runsync_config::root::RootName;
use runsync_manifest::checksum::{Adler32, Checksums, Sha256};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::DatasetType;
use runsync_manifest::name::{DatasetId, RepositoryId, RunKey};
use uuid::Uuid;

use crate::lease::{Fence, Tenure};
use crate::registry::conflict::Conflict;
use crate::registry::dump::dump;
use crate::registry::memory_rows::{MemoryClaim, MemoryRows};
use crate::registry::record::{
    ClaimCursor, ClaimRow, DataIdCursor, DataIdRow, DimensionKeyCursor, DimensionRow, PathCursor,
    PathRow, Registered, Registration, RowSource, WaitingArtifact,
};
use crate::registry::{Registry, RegistryError};

/// An open registry.
pub(crate) type Opened = Box<dyn Registry>;
/// Opens the registry in a folder under a tenure, or creates it first; it commits large
/// registrations after so many rows.
pub(crate) type Open = dyn Fn(&Path, u64, &Tenure) -> Result<Opened, RegistryError> + Sync;

/// Rows that no test registration exceeds.
pub(super) const ONE_COMMIT: u64 = 1_000_000;

/// A registry in a folder of its own.
pub(super) struct Site<'a> {
    folder: tempfile::TempDir,
    open: &'a Open,
    batch_rows: u64,
    tenure: Tenure,
    registry: Option<Opened>,
}

impl<'a> Site<'a> {
    pub(super) fn new(open: &'a Open) -> Self {
        Self::with_batches(open, ONE_COMMIT)
    }

    pub(super) fn with_batches(open: &'a Open, batch_rows: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tenure = tenure(1);
        let registry = Some(open(folder.path(), batch_rows, &tenure).unwrap());
        Self {
            folder,
            open,
            batch_rows,
            tenure,
            registry,
        }
    }

    /// Opens it once more, as the process that comes next does.
    pub(super) fn overtake(&self) -> Opened {
        (self.open)(self.folder.path(), self.batch_rows, &tenure(2)).unwrap()
    }

    pub(super) fn reopen(&mut self) {
        self.registry = None;
        let opened = (self.open)(self.folder.path(), self.batch_rows, &self.tenure);
        self.registry = Some(opened.unwrap());
    }

    pub(super) fn registry(&self) -> &dyn Registry {
        self.registry.as_deref().unwrap()
    }

    /// Registers one manifest as ingest does: conflicts first.
    pub(super) fn register(&self, manifest: &Manifest) -> Result<Registered, Vec<Conflict>> {
        let registration = manifest.registration();
        let conflicts = self
            .registry()
            .conflicts(&registration, 100, &mut |_| {
                std::ops::ControlFlow::Continue(())
            })
            .unwrap();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        let mut outcomes = self
            .registry()
            .register(
                &[registration],
                &mut |_| std::ops::ControlFlow::Continue(()),
            )
            .unwrap();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0).map_err(|conflict| vec![conflict])
    }

    /// Everything that a run waits for.
    pub(super) fn waiting(&self, run: &RunKey) -> Vec<WaitingArtifact> {
        self.registry()
            .waiting_artifacts(run, &root(), (None, None), usize::MAX)
            .unwrap()
    }

    pub(super) fn waiting_paths(&self, run: &RunKey) -> Vec<String> {
        let waiting = self.waiting(run);
        waiting.iter().map(|one| one.path.to_string()).collect()
    }

    pub(super) fn confirm_all(&self, run: &RunKey) -> u64 {
        let waiting = self.waiting(run);
        self.registry().confirm(run, &root(), &waiting).unwrap()
    }

    pub(super) fn dump(&self) -> String {
        let mut text = Vec::new();
        dump(self.registry(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// Compares each run's counters with its rows, and its rows with the look-ups.
    pub(super) fn check_counters(&self) {
        let registry = self.registry();
        for run in registry.runs(None).unwrap() {
            let datasets = registry.datasets(&run.key, None, None, usize::MAX).unwrap();
            let records = registry.records(&run.key, None, usize::MAX).unwrap();
            let unconfirmed = records.iter().filter(|record| !record.confirmed);
            assert_eq!(run.datasets, datasets.len() as u64, "{run:?}");
            assert_eq!(run.claims, records.len() as u64, "{run:?}");
            assert_eq!(run.waiting, unconfirmed.clone().count() as u64, "{run:?}");
            let bytes: u64 = records.iter().map(|record| record.size).sum();
            assert_eq!(run.bytes, bytes, "{run:?}");
            let mut paths: Vec<String> = unconfirmed.map(|one| one.path.to_string()).collect();
            paths.sort();
            paths.dedup();
            assert_eq!(self.waiting_paths(&run.key), paths);
            let waiting = registry.waiting_runs().unwrap();
            let waits = waiting.iter().any(|one| one.run == run.key);
            assert_eq!(waits, !paths.is_empty(), "{run:?}");
        }
    }
}

fn tenure(fence: u64) -> Tenure {
    Tenure::begin(Fence::stored(fence), || ())
}

pub(super) fn root() -> RootName {
    "main".parse().unwrap()
}

pub(super) fn run(name: &str) -> RunKey {
    RunKey {
        origin: RepositoryId(Uuid::from_u128(7)),
        name: name.parse().unwrap(),
    }
}

/// UUIDs in which every byte differs from the neighbours', so that their order is not that of `n`.
pub(super) fn dataset(n: u32) -> DatasetId {
    let scattered = u128::from(n.wrapping_mul(0x9E37_79B9)) << 96;
    DatasetId(Uuid::from_u128(scattered | u128::from(n)))
}

pub(super) fn checksums(content: u32) -> Checksums {
    Checksums {
        adler32: Adler32(content.to_be_bytes()),
        md5: None,
        sha256: None,
    }
}

pub(super) fn dataset_type(name: &str) -> DatasetType {
    DatasetType {
        name: name.parse().unwrap(),
        dimensions: vec!["instrument".into(), "detector".into()],
        storage_class: "ExposureF".parse().unwrap(),
        is_calibration: false,
    }
}

/// A claim on dataset `n` at `path`, whose content is told by `content`.
pub(super) fn claim(n: u32, path: &str, content: u32) -> MemoryClaim {
    MemoryClaim {
        uuid: dataset(n),
        component: String::new(),
        dataset_type: usize::from(n.is_multiple_of(3)),
        data_id: format!(r#"{{"detector":{n},"instrument":"HSC"}}"#),
        path: path.to_owned(),
        size: 100 + u64::from(content),
        checksums: checksums(content),
        formatter: Some("lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter".to_owned()),
    }
}

/// Datasets `numbers`, each at a path of its own.
pub(super) fn claims(numbers: impl IntoIterator<Item = u32>) -> Vec<MemoryClaim> {
    let path = |n: u32| format!("calexp/{}/{n}.fits", n.wrapping_mul(7) % 5);
    numbers.into_iter().map(|n| claim(n, &path(n), n)).collect()
}

/// A manifest.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) run: RunKey,
    pub(super) generation: Generation,
    pub(super) digest: Sha256,
    pub(super) root: RootName,
    pub(super) dataset_types: Vec<DatasetType>,
    pub(super) trust: bool,
    pub(super) rows: Box<dyn RowSource>,
}

impl Manifest {
    pub(super) fn new(run: &RunKey, sequence: u32, claims: Vec<MemoryClaim>) -> Self {
        Self::over(run, sequence, Box::new(MemoryRows::new(claims)))
    }

    pub(super) fn over(run: &RunKey, sequence: u32, rows: Box<dyn RowSource>) -> Self {
        Self {
            run: run.clone(),
            generation: Generation { epoch: 1, sequence },
            digest: Sha256([u8::try_from(sequence).unwrap(); 32]),
            root: root(),
            dataset_types: vec![dataset_type("calexp"), dataset_type("calexpBackground")],
            trust: false,
            rows,
        }
    }

    pub(super) fn trusted(self) -> Self {
        Self {
            trust: true,
            ..self
        }
    }

    pub(super) fn registration(&self) -> Registration<'_> {
        Registration {
            run: &self.run,
            generation: self.generation,
            digest: self.digest,
            root: &self.root,
            dataset_types: &self.dataset_types,
            trust: self.trust,
            rows: self.rows.as_ref(),
        }
    }
}

/// Rows whose reading fails after a number of them.
#[derive(Debug)]
pub(super) struct Failing {
    rows: MemoryRows,
    left: AtomicU64,
}

impl Failing {
    pub(super) fn after(rows: MemoryRows, left: u64) -> Self {
        Self {
            rows,
            left: AtomicU64::new(left),
        }
    }

    fn pay(&self) -> io::Result<()> {
        let paid = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        paid.map(drop)
            .map_err(|_| io::Error::other("the disk is gone"))
    }
}

struct Paying<'a, C: ?Sized> {
    source: &'a Failing,
    cursor: Box<C>,
}

impl ClaimCursor for Paying<'_, dyn ClaimCursor + '_> {
    fn next(&mut self) -> io::Result<Option<ClaimRow<'_>>> {
        self.source.pay()?;
        self.cursor.next()
    }
}

impl DataIdCursor for Paying<'_, dyn DataIdCursor + '_> {
    fn next(&mut self) -> io::Result<Option<DataIdRow<'_>>> {
        self.source.pay()?;
        self.cursor.next()
    }
}

impl PathCursor for Paying<'_, dyn PathCursor + '_> {
    fn next(&mut self) -> io::Result<Option<PathRow<'_>>> {
        self.source.pay()?;
        self.cursor.next()
    }
}

impl RowSource for Failing {
    fn claims(&self) -> u64 {
        self.rows.claims()
    }

    fn datasets(&self) -> u64 {
        self.rows.datasets()
    }

    fn bytes(&self) -> u64 {
        self.rows.bytes()
    }

    fn dimensions(
        &self,
        each: &mut dyn FnMut(DimensionRow<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.rows.dimensions(each)
    }

    fn dimension_keys(&self) -> io::Result<Box<dyn DimensionKeyCursor + '_>> {
        self.rows.dimension_keys()
    }

    fn by_dataset(&self) -> io::Result<Box<dyn ClaimCursor + '_>> {
        let cursor = self.rows.by_dataset()?;
        Ok(Box::new(Paying::<dyn ClaimCursor> {
            source: self,
            cursor,
        }))
    }

    fn by_data_id(&self) -> io::Result<Box<dyn DataIdCursor + '_>> {
        let cursor = self.rows.by_data_id()?;
        Ok(Box::new(Paying::<dyn DataIdCursor> {
            source: self,
            cursor,
        }))
    }

    fn by_path(&self) -> io::Result<Box<dyn PathCursor + '_>> {
        let cursor = self.rows.by_path()?;
        Ok(Box::new(Paying::<dyn PathCursor> {
            source: self,
            cursor,
        }))
    }
}
