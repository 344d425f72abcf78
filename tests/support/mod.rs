//! A site in a temporary folder, with a clock that tests move, and manifests made for it.
//!
//! Each test target includes this file and uses its own part of it.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::unused_self,
    clippy::wildcard_enum_match_arm,
    reason = "test support, of which each target uses a part"
)]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use runsync::assembly::{self, Assembly};
use runsync::clock::ManualClock;
use runsync::datastore::{RepositoryFile, manifest_path};
use runsync::ingest::confirm::Confirming;
use runsync::ingest::flow::Flow;
use runsync::ingest::following::FollowWorker;
use runsync::ingest::sweep::Arrivals;
use runsync::lease::Held;
use runsync::ledger::Ledger;
use runsync::ledger::record::ManifestRow;
use runsync::registry::Registry;
use runsync::worker::Wake;
use runsync_config::site::Site;
use runsync_manifest::checksum::{self, Wanted};
use runsync_manifest::content::Content;
use runsync_manifest::dimension::DimensionRecords;
use runsync_manifest::entry::{DataId, DataValue, DatasetEntry};
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{DatasetType, Header, Repository, UniverseVersion};
use runsync_manifest::name::{DatasetId, ManifestId, RepositoryId, RunKey};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::writer::{Packing, Writer};
use uuid::Uuid;

/// When every test starts.
pub const START_SECOND: i64 = 1_790_000_000;

/// A site on disk, opened and closed as a daemon would.
pub struct TestSite {
    pub name: &'static str,
    pub folder: tempfile::TempDir,
    pub clock: Arc<ManualClock>,
    pub key: SigningKey,
    pub repository: RepositoryId,
}

/// A site that is open.
pub struct OpenSite {
    pub assembly: Assembly,
    pub arrivals: Arrivals,
    pub confirming: Confirming,
    /// The lease, given back after the rest is closed.
    pub held: Arc<Held>,
}

impl TestSite {
    /// Makes a site whose one root confirms at `level`.
    pub fn new(level: &str) -> Self {
        Self::below(level, tempfile::tempdir().unwrap())
    }

    /// As [`new`](Self::new), in memory where the machine has a place for that: for tests that make
    /// many sites and do not ask what a power cut leaves.
    pub fn in_memory(level: &str) -> Self {
        Self::in_memory_as("SITE_A", 0xA, level)
    }

    /// The same as another site, whose repository has that number.
    pub fn in_memory_as(name: &'static str, repository: u8, level: &str) -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self::as_site(name, repository, level, folder.unwrap())
    }

    fn below(level: &str, folder: tempfile::TempDir) -> Self {
        Self::as_site("SITE_A", 0xA, level, folder)
    }

    fn as_site(name: &'static str, number: u8, level: &str, folder: tempfile::TempDir) -> Self {
        let key = SigningKey::from_seed(&[number - 9; 32]);
        let repository = RepositoryId(Uuid::from_u128(number.into()));
        let registry = Uuid::from_u128(u128::from(number) + 1);
        let path = folder.path();
        for below in ["root/runsync/manifests", "keys/trusted", "state"] {
            fs::create_dir_all(path.join(below)).unwrap();
        }
        let file = RepositoryFile {
            format: 1,
            repository,
            site: name.parse().unwrap(),
            registry,
            journal_directory: None,
        };
        write(
            &path.join("root/runsync/repository.json"),
            &serde_json::to_vec(&file).unwrap(),
        );
        write(
            &path.join("keys/signing.pem"),
            key.to_pem().unwrap().as_bytes(),
        );
        private(&path.join("keys/signing.pem"));
        let site = Self {
            name,
            clock: Arc::new(ManualClock::new(
                Timestamp::from_second(START_SECOND).unwrap(),
            )),
            key,
            repository,
            folder,
        };
        site.configure(level, "");
        runsync::assembly::create(&site.site(), registry).unwrap();
        site
    }

    /// Writes the configuration; `more` is TOML that follows.
    pub fn configure(&self, level: &str, more: &str) {
        let root = self.root();
        let text = format!(
            "[site]\nname = \"{}\"\n[[root]]\nname = \"main\"\nurl = \"file://{}\"\nconfirm = \"{level}\"\n{more}\n",
            self.name,
            root.display()
        );
        write(&self.config(), text.as_bytes());
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("site.toml")
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub fn site(&self) -> Site {
        runsync_config::load(&self.config()).unwrap()
    }

    /// Opens it as a starting daemon does; nobody else may have the lease.
    pub fn open(&self) -> OpenSite {
        let site = self.site();
        let open = |tenure: &_| Assembly::open(&site, tenure, Arc::clone(&self.clock) as _);
        let turned_away = &mut || ControlFlow::Break(());
        let (held, assembly) = assembly::claim(&site, &*self.clock, open, turned_away).unwrap();
        let flow = assembly.flows[0].clone();
        OpenSite {
            arrivals: Arrivals::new(flow.clone()),
            confirming: Confirming::new(flow),
            assembly,
            held: Arc::new(held),
        }
    }

    /// Moves the clock.
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// The run of that name of this site.
    pub fn run(&self, name: &str) -> RunKey {
        RunKey {
            origin: self.repository,
            name: name.parse().unwrap(),
        }
    }

    /// Puts a manifest where it belongs.
    pub fn place(&self, manifest: &Manifest) -> PathBuf {
        let header = &manifest.header;
        let packed = manifest.packing != Packing::Plain;
        let path = manifest_path(
            header.origin.repository,
            &header.run,
            header.generation,
            packed,
        );
        let path = self.root().join(path);
        put(&path, &manifest.bytes(Some(&self.key)));
        path
    }

    /// Puts bytes at a path of the root by rename, as a transfer does.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        put(&self.root().join(path), bytes);
    }
}

impl OpenSite {
    pub fn flow(&self) -> &Flow {
        self.arrivals.flow()
    }

    pub fn registry(&self) -> &dyn Registry {
        &*self.assembly.parts.registry
    }

    pub fn ledger(&self) -> &dyn Ledger {
        &*self.assembly.parts.ledger
    }

    /// Sweeps, and works until there is nothing to do now.
    pub fn work(&mut self) {
        self.arrivals.sweep().unwrap();
        self.work_off();
    }

    /// Works until there is nothing to do now.
    pub fn work_off(&mut self) {
        loop {
            let now = self.assembly.parts.clock.now();
            let stepped = self
                .arrivals
                .step(&mut |_| ControlFlow::Continue(()))
                .unwrap();
            if stepped.decided == 0 && stepped.next.is_none_or(|next| next > now) {
                break;
            }
        }
    }

    /// Has removed here what origins have removed, and sees all removals through, until there is
    /// nothing to do now.
    pub fn follow(&mut self) {
        loop {
            self.work_off();
            let mut follower = FollowWorker::new(Arc::clone(&self.assembly.following), Wake::new());
            let mut done = follower
                .follow_due(&mut |_| ControlFlow::Continue(()))
                .unwrap();
            let removing = &self.assembly.removing;
            for removal in self.registry().removals().unwrap() {
                if !removal.is_late() {
                    removing
                        .resume(removal.id, &mut |_| ControlFlow::Continue(()))
                        .unwrap();
                    done += 1;
                }
            }
            if done == 0 {
                break;
            }
        }
    }

    /// Looks at everything that is waited for.
    pub fn confirm(&mut self) -> u64 {
        let runs = self.registry().waiting_runs().unwrap();
        runs.iter()
            .map(|waiting| {
                self.confirming
                    .confirm_run(&waiting.run, &mut || ControlFlow::Continue(()))
                    .unwrap()
            })
            .sum()
    }

    /// The ledger's rows, by path.
    pub fn manifests(&self) -> Vec<ManifestRow> {
        let mut rows = self.ledger().manifests(None).unwrap();
        rows.sort_by(|a, b| a.location.cmp(&b.location));
        rows
    }

    /// The one row of the ledger.
    pub fn manifest(&self) -> ManifestRow {
        let mut rows = self.manifests();
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// The registry as text.
    pub fn dump(&self) -> String {
        let mut dump = Vec::new();
        runsync::registry::dump(self.registry(), &mut dump).unwrap();
        String::from_utf8(dump).unwrap()
    }
}

/// A manifest to be written.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub header: Header,
    pub dimensions: Vec<DimensionRecords>,
    pub entries: Vec<DatasetEntry<'static>>,
    pub packing: Packing,
}

impl Manifest {
    pub fn new(origin: RepositoryId, run: &str, generation: &str, content: Content) -> Self {
        let generation: Generation = generation.parse().unwrap();
        let number = u128::from(generation.epoch) << 64
            | u128::from(generation.sequence) << 32
            | run
                .bytes()
                .fold(7, |sum, byte| sum * 31 % 65_521 + u128::from(byte));
        let id = uuid::Builder::from_u128(number)
            .with_version(uuid::Version::SortRand)
            .with_variant(uuid::Variant::RFC4122)
            .into_uuid();
        Self {
            header: Header {
                format: 1,
                manifest: ManifestId(id),
                content,
                run: run.parse().unwrap(),
                origin: Repository {
                    repository: origin,
                    site: "SITE_A".parse().unwrap(),
                },
                holder: None,
                generation,
                created_at: "2026-11-22T07:00:00Z".into(),
                scope: None,
                universe: UniverseVersion {
                    name: "daf_butler".into(),
                    version: 8,
                },
                dataset_types: if content == Content::Removal {
                    vec![]
                } else {
                    vec![calexp()]
                },
                provenance: serde_json::Value::Null,
            },
            dimensions: vec![],
            entries: vec![],
            packing: Packing::Plain,
        }
    }

    /// Adds the dimension records that [`entry`] needs for visits and detectors below `most`.
    #[must_use]
    pub fn with_dimensions(mut self, most: i64) -> Self {
        self.dimensions = dimensions(most);
        self
    }

    #[must_use]
    pub fn with_entries(
        mut self,
        entries: impl IntoIterator<Item = DatasetEntry<'static>>,
    ) -> Self {
        self.entries = entries.into_iter().collect();
        self
    }

    /// Adds `count` small datasets, the `first` of which sets their UUIDs and paths apart from others'.
    #[must_use]
    pub fn with_many(self, first: u128, count: i64) -> Self {
        let side = count.isqrt() + 1;
        let run = self.header.run.to_string();
        let entries = (0..count).map(|number| {
            let path = format!("{run}/{:03}/{number}.fits", number / 1000);
            let uuid = first + u128::try_from(number).unwrap();
            entry(uuid, number / side, number % side, &path, b"SIMPLE  =")
        });
        self.with_dimensions(side).with_entries(entries)
    }

    pub fn bytes(&self, key: Option<&SigningKey>) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), self.packing, &self.header).unwrap();
        for records in &self.dimensions {
            writer.dimension(records).unwrap();
        }
        for entry in &self.entries {
            writer.dataset(entry).unwrap();
        }
        writer.finish(key).unwrap().0
    }
}

pub fn calexp() -> DatasetType {
    DatasetType {
        name: "calexp".parse().unwrap(),
        dimensions: vec!["detector".into(), "instrument".into(), "visit".into()],
        storage_class: "ExposureF".parse().unwrap(),
        is_calibration: false,
    }
}

fn object(value: serde_json::Value) -> runsync_manifest::dimension::DimensionRecord {
    serde_json::from_value(value).unwrap()
}

/// Records of an instrument with `most` detectors and visits.
pub fn dimensions(most: i64) -> Vec<DimensionRecords> {
    use serde_json::json;
    let lines = [
        ("instrument", vec![json!({"name": "HSC", "detector_max": 200})]),
        ("physical_filter", vec![json!({"instrument": "HSC", "name": "HSC-R", "band": "r"})]),
        ("day_obs", vec![json!({"instrument": "HSC", "id": 20_130_617})]),
        (
            "detector",
            (0..most).map(|id| json!({"instrument": "HSC", "id": id, "full_name": format!("{id}")})).collect(),
        ),
        (
            "visit",
            (0..most)
                .map(|id| json!({"instrument": "HSC", "id": id, "day_obs": 20_130_617, "physical_filter": "HSC-R", "name": format!("v{id}")}))
                .collect(),
        ),
    ];
    lines
        .into_iter()
        .map(|(element, records)| DimensionRecords {
            element: element.into(),
            records: records.into_iter().map(object).collect(),
        })
        .collect()
}

/// The bytes of an artifact.
pub fn artifact(seed: u64, size: usize) -> Vec<u8> {
    (0..size as u64)
        .map(|at| (seed.wrapping_mul(31).wrapping_add(at * 7) % 251) as u8)
        .collect()
}

/// A calexp of (visit, detector) whose artifact at `path` holds `bytes`.
pub fn entry(
    uuid: u128,
    visit: i64,
    detector: i64,
    path: &str,
    bytes: &[u8],
) -> DatasetEntry<'static> {
    let (size, checksums) = checksum::checksum(
        bytes,
        Wanted {
            md5: true,
            sha256: false,
        },
    )
    .unwrap();
    DatasetEntry {
        uuid: DatasetId(Uuid::from_u128(uuid)),
        dataset_type: "calexp".into(),
        data_id: DataId::new(vec![
            ("instrument".into(), DataValue::Text("HSC".into())),
            ("visit".into(), DataValue::Integer(visit)),
            ("detector".into(), DataValue::Integer(detector)),
        ])
        .unwrap(),
        path: path.to_owned().into(),
        size,
        checksums,
        formatter: Some("lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter".into()),
        component: None,
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests write as other programs do"
)]
pub fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes under another name and renames.
#[allow(
    clippy::disallowed_methods,
    reason = "tests write as other programs do"
)]
pub fn put(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("part");
    write(&temporary, bytes);
    fs::rename(temporary, path).unwrap();
}

/// Lets only its owner read it.
pub fn private(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[allow(
    clippy::disallowed_methods,
    reason = "tests move folders as operators do"
)]
pub fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap();
}
