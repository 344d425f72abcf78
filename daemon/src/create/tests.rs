//! From inputs to manifests, over a folder as datastore.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use insta::assert_snapshot;
use runsync_manifest::checksum::Wanted;
use runsync_manifest::content::Content;
use runsync_manifest::generation::Generation;
use runsync_manifest::header::{Repository, UniverseVersion};
use runsync_manifest::limits::Limits;
use runsync_manifest::name::{ArtifactPath, RunName};
use runsync_manifest::reader::{Line, Reader};
use runsync_manifest::signature::SigningKey;
use runsync_manifest::writer::Packing;

use super::error::CreateError;
use super::listing::Listing;
use super::{Draft, Measuring, Publication, export, measure};
use crate::datastore::{
    Aside, Datastore, DatastoreError, Deletion, Journals, Linked, Look, ManifestFile, Moved,
    RepositoryFile, Sight, ToDelete, Walk,
};
use crate::file_identity::FileIdentity;

const RUN: &str = "HSC/runs/ci_hsc/20240806T180642Z";

/// Shaped as the Butler writes it; the values are made up.
const EXPORT: &str = "\
description: Butler Data Repository Export
version: 1.0.2
universe_version: 7
universe_namespace: daf_butler
data:
- type: dimension
  element: visit
  records:
  - instrument: HSC
    id: 903334
    day_obs: 20130617
    physical_filter: HSC-R
    name: HSCA90333400
    exposure_time: 30.0
    zenith_angle: 21.192894420000002
    azimuth: null
    region: !<lsst.sphgeom.ConvexPolygon>
      encoded: 70997e4cfb
    datetime_begin: !butler_time/tai/iso '2013-06-17 13:29:11.039000000'
    datetime_end: !butler_time/tai/iso '2013-06-17 13:29:43.495000000'
- type: dimension
  element: instrument
  records:
  - name: HSC
    visit_max: 21474800
    class_name: lsst.obs.subaru.HyperSuprimeCam
- type: dimension
  element: detector
  records:
  - instrument: HSC
    id: 23
    full_name: 0_29
    raft: '0'
  - instrument: HSC
    id: 22
    full_name: '0_27'
    raft: '0'
- type: collection
  collection_type: RUN
  name: HSC/runs/ci_hsc/20240806T180642Z
  host: null
  timespan_begin: null
  timespan_end: null
- type: dataset_type
  name: calexp
  dimensions:
  - band
  - instrument
  - day_obs
  - detector
  - physical_filter
  - visit
  storage_class: ExposureF
  is_calibration: false
- type: dataset_type
  name: unused
  dimensions: []
  storage_class: StructuredDataDict
  is_calibration: false
- type: dataset
  dataset_type: calexp
  run: HSC/runs/ci_hsc/20240806T180642Z
  records:
  - dataset_id:
    - &id001 !uuid 'ae4cae3d-780e-422c-bf12-b21627f38f47'
    data_id:
    - instrument: HSC
      detector: 22
      visit: 903334
    path: HSC/calexp_22.fits
    formatter: lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter
  - dataset_id:
    - !uuid '1b3a4c19-dffa-4942-af1d-b123a1497a00'
    data_id:
    - instrument: HSC
      detector: 23
      visit: 903334
      band: r
    path: HSC/calexp_23.fits
    formatter: null
- type: associations
  collection: u/tagged
  collection_type: TAGGED
  dataset_ids:
  - *id001
";

const LISTING: &str = r#"
{"kind":"dataset_type","name":"log","dimensions":["visit","detector"],"storage_class":"ButlerLogRecords"}
{"kind":"dimension","element":"instrument","records":[{"name":"HSC","visit_max":1}]}
{"path":"logs/a.zip","dataset_type":"log","data_id":{"instrument":"HSC","visit":1,"detector":2},"uuid":"00000000-0000-4000-8000-000000000002"}
{"kind":"dataset","path":"logs/a.zip","dataset_type":"log","data_id":{"instrument":"HSC","visit":1,"detector":1},"uuid":"00000000-0000-4000-8000-000000000001","component":"wcs","formatter":"x.Y"}
"#;

/// A folder as datastore; only what measuring needs.
#[derive(Debug)]
struct Folder(tempfile::TempDir, RepositoryFile);

impl Folder {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, bytes) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(path).unwrap().write_all(bytes).unwrap();
        }
        let repository = RepositoryFile {
            format: 1,
            repository: "00000000-0000-0000-0000-00000000000a".parse().unwrap(),
            site: "SITE_A".parse().unwrap(),
            registry: uuid::Uuid::from_u128(1),
            journal_directory: None,
        };
        Self(folder, repository)
    }

    fn identity(path: &Path) -> FileIdentity {
        FileIdentity {
            size: fs::metadata(path).unwrap().len(),
            modified_ns: 0,
            inode: 0,
        }
    }
}

impl Datastore for Folder {
    fn repository(&self) -> &RepositoryFile {
        &self.1
    }

    fn check_identity(&self) -> Result<(), DatastoreError> {
        Ok(())
    }

    fn list_manifests(&self) -> Result<(Vec<ManifestFile>, Vec<DatastoreError>), DatastoreError> {
        panic!("measuring lists no manifests")
    }

    fn look_at_manifest(&self, _: &str) -> Result<Look, DatastoreError> {
        panic!("measuring looks at no manifest")
    }

    fn open_manifest(&self, _: &str) -> Result<(File, FileIdentity), DatastoreError> {
        panic!("measuring opens no manifest")
    }

    fn install_manifest(&self, _: &str, _: &mut dyn std::io::Read) -> Result<bool, DatastoreError> {
        panic!("measuring installs no manifest")
    }

    fn look(&self, paths: &[&ArtifactPath]) -> Result<Vec<Look>, DatastoreError> {
        assert!(paths.is_sorted(), "asked by path");
        let look = |path: &&ArtifactPath| {
            let path = self.0.path().join(path.as_str());
            match path.try_exists().unwrap() {
                true if path.is_file() => Look::File(Self::identity(&path)),
                true => Look::Irregular,
                false => Look::Absent,
            }
        };
        Ok(paths.iter().map(look).collect())
    }

    fn walk(
        &self,
        below: Option<&ArtifactPath>,
        from: &str,
    ) -> Result<Box<dyn Walk + '_>, DatastoreError> {
        unreachable!("nothing is walked through: {below:?} {from}")
    }

    fn open(&self, path: &ArtifactPath) -> Result<(File, FileIdentity), DatastoreError> {
        let path = self.0.path().join(path.as_str());
        Ok((File::open(&path).unwrap(), Self::identity(&path)))
    }

    fn delete(&self, _: &[ToDelete<'_>]) -> Result<Vec<Deletion>, DatastoreError> {
        panic!("measuring deletes nothing")
    }

    fn delete_manifest(&self, _: &str, _: FileIdentity) -> Result<Deletion, DatastoreError> {
        panic!("measuring deletes no manifest")
    }

    fn link(&self, _: &str, _: &ArtifactPath) -> Result<Linked, DatastoreError> {
        panic!("measuring links nothing")
    }

    fn set_aside(&self, _: ToDelete<'_>, _: &Aside) -> Result<Moved, DatastoreError> {
        panic!("measuring moves nothing")
    }

    fn bring_back(
        &self,
        _: &Aside,
        _: FileIdentity,
        _: &ArtifactPath,
    ) -> Result<Moved, DatastoreError> {
        panic!("measuring moves nothing")
    }

    fn another_about(&self, _: &ArtifactPath) -> Option<Sight> {
        panic!("measuring moves nothing")
    }

    fn look_aside(&self, _: &Aside) -> Result<Look, DatastoreError> {
        panic!("measuring looks nowhere else")
    }

    fn sync(&self) -> Result<(), DatastoreError> {
        panic!("measuring syncs nothing")
    }

    fn journals(&self) -> &dyn Journals {
        panic!("measuring asks for no journal")
    }
}

fn measuring() -> Measuring {
    Measuring {
        wanted: Wanted {
            md5: true,
            sha256: false,
        },
        threads: NonZeroUsize::new(3).unwrap(),
    }
}

fn publication() -> Publication {
    Publication {
        manifest: "01935a2e-7c00-7000-8000-000000000001".parse().unwrap(),
        content: Content::Additions,
        run: RUN.parse().unwrap(),
        origin: Repository {
            repository: "00000000-0000-0000-0000-00000000000a".parse().unwrap(),
            site: "SITE_A".parse().unwrap(),
        },
        generation: Generation::FIRST,
        created_at: "2026-11-22T07:30:00Z".parse().unwrap(),
        scope: None,
        provenance: serde_json::Value::Null,
    }
}

fn draft_of(yaml: &str) -> Result<(RunName, Draft), CreateError> {
    export::read("export.yaml", yaml.as_bytes(), None)
}

fn listing_of(lines: &str) -> Result<Draft, CreateError> {
    let mut listing = Listing::new(UniverseVersion {
        name: "daf_butler".into(),
        version: 8,
    });
    listing.read("list.jsonl", lines.as_bytes())?;
    listing.into_draft()
}

fn manifest_of(mut draft: Draft, folder: &Folder) -> String {
    measure(&mut draft, folder, measuring(), &|_| {}).unwrap();
    let key = SigningKey::from_seed(&[7; 32]);
    let (bytes, _) = draft
        .write(&publication(), Vec::new(), Packing::Plain, Some(&key))
        .unwrap();
    let mut reader = Reader::new(bytes.as_slice(), Limits::default()).unwrap();
    while reader.next().unwrap().is_some() {}
    String::from_utf8(bytes).unwrap()
}

fn chain(error: &CreateError) -> String {
    let mut told = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        write!(told, ": {error}").unwrap();
        source = error.source();
    }
    told
}

#[test]
fn an_export_becomes_a_manifest() {
    let folder = Folder::with(&[("HSC/calexp_22.fits", b"abc"), ("HSC/calexp_23.fits", b"")]);
    let (run, draft) = draft_of(EXPORT).unwrap();
    assert_eq!(run.as_str(), RUN);
    assert_snapshot!(manifest_of(draft, &folder), @r#"
    {"kind":"header","format":1,"manifest":"01935a2e-7c00-7000-8000-000000000001","content":"additions","run":"HSC/runs/ci_hsc/20240806T180642Z","origin":{"repository":"00000000-0000-0000-0000-00000000000a","site":"SITE_A"},"generation":{"epoch":1,"sequence":1},"created_at":"2026-11-22T07:30:00Z","universe":{"name":"daf_butler","version":7},"dataset_types":[{"name":"calexp","dimensions":["detector","instrument","visit"],"storage_class":"ExposureF","is_calibration":false}]}
    {"kind":"dimension","element":"instrument","records":[{"class_name":"lsst.obs.subaru.HyperSuprimeCam","name":"HSC","visit_max":21474800}]}
    {"kind":"dimension","element":"detector","records":[{"full_name":"0_27","id":22,"instrument":"HSC","raft":"0"},{"full_name":"0_29","id":23,"instrument":"HSC","raft":"0"}]}
    {"kind":"dimension","element":"visit","records":[{"azimuth":null,"day_obs":20130617,"exposure_time":30.0,"id":903334,"instrument":"HSC","name":"HSCA90333400","physical_filter":"HSC-R","region":"70997e4cfb","timespan":[1371475751039000000,1371475783495000000],"zenith_angle":21.192894420000002}]}
    {"kind":"dataset","uuid":"1b3a4c19-dffa-4942-af1d-b123a1497a00","dataset_type":"calexp","data_id":{"detector":23,"instrument":"HSC","visit":903334},"path":"HSC/calexp_23.fits","size":0,"checksums":{"adler32":"00000001","md5":"d41d8cd98f00b204e9800998ecf8427e"}}
    {"kind":"dataset","uuid":"ae4cae3d-780e-422c-bf12-b21627f38f47","dataset_type":"calexp","data_id":{"detector":22,"instrument":"HSC","visit":903334},"path":"HSC/calexp_22.fits","size":3,"checksums":{"adler32":"024d0127","md5":"900150983cd24fb0d6963f7d28e17f72"},"formatter":"lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter"}
    {"kind":"trailer","counts":{"dimension":3,"dataset":2},"total_bytes":3,"sha256":"671e8b5898b8bd2defcf5aca84ed1f45ebafad726b5a7c4a174563040d60d534","key_id":"fe812c12f3ab4ce6ac5db69ac352f906","signature":"RyBdYbnwhk0yRzsXhcYyu9AfXayvUK5MqUTsye6Gsor0E1tpxbZy+eNubn5EbvzGVt9Mq+OXU9+twbD7FPJ3DQ=="}
    "#);
}

#[test]
fn a_listing_becomes_a_manifest() {
    let folder = Folder::with(&[("logs/a.zip", b"several datasets")]);
    let text = manifest_of(listing_of(LISTING).unwrap(), &folder);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("dataset"))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    {"kind":"header","format":1,"manifest":"01935a2e-7c00-7000-8000-000000000001","content":"additions","run":"HSC/runs/ci_hsc/20240806T180642Z","origin":{"repository":"00000000-0000-0000-0000-00000000000a","site":"SITE_A"},"generation":{"epoch":1,"sequence":1},"created_at":"2026-11-22T07:30:00Z","universe":{"name":"daf_butler","version":8},"dataset_types":[{"name":"log","dimensions":["detector","instrument","visit"],"storage_class":"ButlerLogRecords","is_calibration":false}]}
    {"kind":"dataset","uuid":"00000000-0000-4000-8000-000000000001","dataset_type":"log","data_id":{"detector":1,"instrument":"HSC","visit":1},"path":"logs/a.zip","size":16,"checksums":{"adler32":"3655066c","md5":"7a49d0c828e114035e71a338ee43041d"},"formatter":"x.Y","component":"wcs"}
    {"kind":"dataset","uuid":"00000000-0000-4000-8000-000000000002","dataset_type":"log","data_id":{"detector":2,"instrument":"HSC","visit":1},"path":"logs/a.zip","size":16,"checksums":{"adler32":"3655066c","md5":"7a49d0c828e114035e71a338ee43041d"}}
    {"kind":"trailer","counts":{"dimension":1,"dataset":2},"total_bytes":32,"sha256":"6dcbb9a65ffdf1ff53de7f827c1cd64cb37e9f4e16b35f25803e8919cf0e1b62","key_id":"fe812c12f3ab4ce6ac5db69ac352f906","signature":"O2LJZvqW7oib3jTX70/4YMtb2bnlOPhAZy3I+ICh4Bcjk7x6YERg25l0vM/P+cR27k1vZ1Ai1gYzvApoV5MiCw=="}
    "#);
}

#[test]
fn a_dataset_without_uuid_gets_a_random_one() {
    let bare = LISTING.replace(r#","uuid":"00000000-0000-4000-8000-000000000002""#, "");
    let one = listing_of(&bare).unwrap();
    let other = listing_of(&bare).unwrap();
    let uuids = |draft: &Draft| {
        draft
            .claims
            .iter()
            .map(|claim| claim.uuid.0)
            .collect::<Vec<_>>()
    };
    assert_ne!(uuids(&one), uuids(&other));
    assert!(uuids(&one).iter().any(|uuid| uuid.get_version_num() == 4));
}

#[test]
fn an_artifact_of_many_datasets_is_read_once() {
    let folder = Folder::with(&[("logs/a.zip", b"several datasets")]);
    let mut draft = listing_of(LISTING).unwrap();
    let seen = AtomicU64::new(0);
    measure(&mut draft, &folder, measuring(), &|done| {
        assert_eq!((done.artifacts_total, done.bytes), (1, 16));
        seen.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(seen.into_inner(), 1);
    assert!(draft.claims.iter().all(|claim| claim.measured.is_some()));
}

#[test]
fn what_is_not_there_is_told_before_anything_is_read() {
    let folder = Folder::with(&[("HSC/calexp_23.fits", b"")]);
    let (_, mut draft) = draft_of(EXPORT).unwrap();
    let told = |draft: &mut Draft, folder: &Folder| {
        let error = measure(draft, folder, measuring(), &|_| panic!("nothing is read"));
        chain(&error.unwrap_err())
    };
    assert_snapshot!(told(&mut draft, &folder), @"cannot find 1 of the artifacts in the datastore root; the first is `HSC/calexp_22.fits`");
    let folder = Folder::with(&[("HSC/calexp_22.fits/x", b""), ("HSC/calexp_23.fits", b"")]);
    assert_snapshot!(told(&mut draft, &folder), @"artifact `HSC/calexp_22.fits` is not a regular file inside the datastore root");
    let error = draft
        .write(&publication(), Vec::new(), Packing::Plain, None)
        .unwrap_err();
    assert_snapshot!(chain(&error), @"artifact `HSC/calexp_23.fits` was not measured");
}

#[test]
fn a_run_is_chosen_where_there_are_several() {
    let other = EXPORT.replacen("  run: HSC", "  run: u/other/HSC", 1);
    let both = format!(
        "{EXPORT}{}",
        other.split_once("- type: dataset\n").unwrap().1
    );
    let both = both.replacen("  - *id001\n", "  - *id001\n- type: dataset\n", 1);
    assert_snapshot!(chain(&draft_of(&both).unwrap_err()), @"export.yaml holds 2 runs (such as `HSC/runs/ci_hsc/20240806T180642Z`, `u/other/HSC/runs/ci_hsc/20240806T180642Z`), expected one run");
    let run: RunName = "u/other/HSC/runs/ci_hsc/20240806T180642Z".parse().unwrap();
    let (chosen, draft) = export::read("export.yaml", both.as_bytes(), Some(&run)).unwrap();
    assert_eq!((chosen, draft.claims()), (run, 2));
    let without = EXPORT.replacen("- type: dataset\n", "- type: data set\n", 1);
    assert_snapshot!(chain(&draft_of(&without).unwrap_err()), @"export.yaml holds no run, expected one run");
}

#[test]
fn a_wrong_export_names_line_and_field() {
    let told = |from: &str, to: &str| {
        assert!(EXPORT.contains(from), "{from}");
        let error = draft_of(&EXPORT.replacen(from, to, 1)).unwrap_err();
        assert!(!error.hint().is_empty());
        chain(&error)
    };
    assert_snapshot!(told("version: 1.0.2", "version: 2.0.0"), @"export.yaml, line 2, field `version`: found `2.0.0`, expected major version 1");
    assert_snapshot!(told("universe_version: 7", "universe_version: seven"), @"export.yaml, line 3, field `universe_version`: found something else, expected a whole number from 0 up");
    assert_snapshot!(told("data:\n", "data: 7\nrest:\n"), @"export.yaml, line 5, field `data`: found something else, expected a list");
    assert_snapshot!(told("data:\n", "dates:\n"), @"export.yaml, line 1, field `data`: is missing");
    assert_snapshot!(told("element: visit", "element: visite"), @"export.yaml, line 9, field `element`: found `visite`, expected a name of universe `daf_butler` version 7");
    assert_snapshot!(told("    id: 903334\n", ""), @"export.yaml, line 9, field `records`: found a record of `visit` without its whole key, expected {instrument, visit}");
    assert_snapshot!(told("    id: 22\n", "    id: 23\n"), @r#"export.yaml, line 34, field `records`: found another `detector` record of {"detector":23,"instrument":"HSC"}, expected each key once"#);
    assert_snapshot!(told("!butler_time/tai/iso '2013", "'2013"), @"export.yaml, line 19, field `datetime_begin`: found `2013-06-17 13:29:11.039000000`, expected a TAI time tagged `!butler_time/tai/iso`, 1970 to 2261");
    assert_snapshot!(told("2013-06-17 13:29:11", "1813-06-17 13:29:11"), @"export.yaml, line 19, field `datetime_begin`: found `1813-06-17 13:29:11.039000000`, expected a TAI time tagged `!butler_time/tai/iso`, 1970 to 2261");
    assert_snapshot!(told("70997e4cfb", "70997e4cf"), @"export.yaml, line 18, field `region`: found a region without hexadecimal `encoded`, expected a value of a dimension record");
    assert_snapshot!(told("  - band\n", "  - bond\n"), @"export.yaml, line 44, field `dimensions`: found `bond`, expected a name of universe `daf_butler` version 7");
    assert_snapshot!(told("  name: calexp\n", "  name: cal/exp\n"), @"export.yaml, line 44, field `name`: dataset type name `cal/exp` holds a `/`");
    assert_snapshot!(told("dataset_type: calexp", "dataset_type: calxep"), @"export.yaml, line 63, field `dataset_type`: found `calxep`, expected a dataset type that was defined before");
    assert_snapshot!(told("!uuid 'ae4cae3d-780e-422c-bf12-b21627f38f47'", "12"), @"export.yaml, line 65, field `dataset_id`: found the number 12, expected a UUID (export it anew with a later Butler)");
    assert_snapshot!(told("!uuid 'ae4cae3d-780e-422c-bf12-b21627f38f47'", "!uuid 'ae4cae3d'"), @"export.yaml, line 65, field `dataset_id`: dataset name `ae4cae3d` is not a UUID");
    assert_snapshot!(told("!uuid 'ae4cae3d-780e-422c-bf12-b21627f38f47'", "!uuid '1b3a4c19-dffa-4942-af1d-b123a1497a00'"), @"export.yaml, line 72: dataset 1b3a4c19-dffa-4942-af1d-b123a1497a00 comes twice");
    assert_snapshot!(told("      detector: 22\n", ""), @"export.yaml, line 67, field `data_id.detector`: is missing");
    assert_snapshot!(told("      detector: 22\n", "      detector: '22'\n"), @"export.yaml, line 67, field `data_id.detector`: found the text `22`, expected a whole number");
    assert_snapshot!(told("      detector: 22\n", "      detector: 23\n"), @"export.yaml, line 64: dataset ae4cae3d-780e-422c-bf12-b21627f38f47 has the dataset type and data ID of another one");
    assert_snapshot!(told("      detector: 22\n", "      detector: 22\n      tract: 9\n"), @"export.yaml, line 67, field `data_id`: found the dimension `tract`, expected {detector, instrument, visit}");
    assert_snapshot!(told("path: HSC/calexp_22.fits", "path: /HSC/calexp_22.fits"), @"export.yaml, line 64, field `path`: artifact path name `/HSC/calexp_22.fits` has an empty part");
    assert_snapshot!(told("    path: HSC/calexp_22.fits\n", ""), @"export.yaml, line 64, field `path`: is missing");
    assert_snapshot!(told("description: Butler", "description: [Butler"), @"export.yaml, line 2, column 8: illegal placement of ':' indicator");
}

#[test]
fn a_wrong_listing_names_line_and_field() {
    let told = |from: &str, to: &str| {
        assert!(LISTING.contains(from), "{from}");
        chain(&listing_of(&LISTING.replacen(from, to, 1)).unwrap_err())
    };
    assert_snapshot!(told(r#""kind":"dataset","#, r#""kind":"data","#), @"list.jsonl, line 5, field `kind`: found `data`, expected `dataset_type`, `dimension`, `dataset` or nothing");
    assert_snapshot!(told(r#""path":"logs/a.zip","#, ""), @"list.jsonl, line 4, field `path`: is missing");
    assert_snapshot!(told(r#""path":"logs/a.zip","#, r#""path":"../a.zip","#), @"list.jsonl, line 4, field `path`: artifact path name `../a.zip` has a part `.` or `..`");
    assert_snapshot!(told(r#""path":"logs/a.zip","#, r#""path":"logs/a.zip","pfad":"","#), @"list.jsonl, line 4, column 27: unknown field `pfad`, expected one of `kind`, `path`, `dataset_type`, `data_id`, `uuid`, `formatter`, `component`");
    assert_snapshot!(told(r#""dataset_type":"log""#, r#""dataset_type":"lag""#), @"list.jsonl, line 4, field `dataset_type`: found `lag`, expected a dataset type that was defined before");
    assert_snapshot!(told(r#""detector":2"#, r#""detector":2.5"#), @"list.jsonl, line 4, column 96: invalid type: floating point `2.5`, expected text or a whole number of at most 64 bits with its sign");
    assert_snapshot!(told(r#""detector":2"#, r#""detector":1"#), @"list.jsonl, line 4: dataset 00000000-0000-4000-8000-000000000002 has the dataset type and data ID of another one");
    assert_snapshot!(told("000000000002\"}", "000000000001\"}"), @"list.jsonl, line 5: dataset 00000000-0000-4000-8000-000000000001 has two data IDs or dataset types");
    assert_snapshot!(told(r#"{"name":"HSC","#, r#"{"nom":"HSC","#), @"list.jsonl, line 3, field `records`: found a record of `instrument` without its whole key, expected {instrument}");
    assert_snapshot!(told("{\"path\"", "\"path\""), @r#"list.jsonl, line 4, column 6: invalid type: string "path", expected a JSON object"#);
}

#[test]
fn an_input_that_is_not_utf8_says_so() {
    let error = export::read("export.yaml", &b"version: 1.0.2\na: \xff\n"[..], None).unwrap_err();
    assert_snapshot!(chain(&error), @"cannot read export.yaml: stream did not contain valid UTF-8");
    let endless = std::io::repeat(b' ').take(8 << 20);
    let mut listing = Listing::new(UniverseVersion {
        name: "daf_butler".into(),
        version: 8,
    });
    let error = listing
        .read("long.jsonl", std::io::BufReader::new(endless))
        .unwrap_err();
    assert_snapshot!(chain(&error), @"long.jsonl, line 1, column 1048576: the line is longer than 1048576 bytes");
}

#[test]
fn dimension_lines_come_in_foreign_key_order() {
    let folder = Folder::with(&[("HSC/calexp_22.fits", b""), ("HSC/calexp_23.fits", b"")]);
    let (_, draft) = draft_of(EXPORT).unwrap();
    let text = manifest_of(draft, &folder);
    let mut reader = Reader::new(text.as_bytes(), Limits::default()).unwrap();
    let mut elements = Vec::new();
    while let Some(line) = reader.next().unwrap() {
        if let Line::Dimension(records) = line {
            elements.push(records.element);
        }
    }
    assert_eq!(elements, ["instrument", "detector", "visit"]);
}
