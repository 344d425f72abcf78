//! The commands over manifests, registry and ledger, as an operator meets them.

#![cfg(test)]

#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use assert_cmd::Command;
use runsync::datastore::{RepositoryFile, manifest_path};
use runsync_manifest::content::Content;
use runsync_manifest::entry::DatasetEntry;
use runsync_manifest::name::RepositoryId;
use runsync_manifest::signature::SigningKey;
use serde_json::Value;
use support::{Manifest, artifact, entry, rename, write};
use tempfile::TempDir;
use uuid::Uuid;

const RUN: &str = "u/a/night";
/// An account that owns nothing.
const NOBODY: u32 = 65534;

/// A site that `init` made, and what an operator does there.
struct Operator {
    ground: TempDir,
    origin: RepositoryId,
    registry: Uuid,
    key: SigningKey,
}

impl Operator {
    fn new(confirm: &str) -> Self {
        let ground = tempfile::tempdir().unwrap();
        let path = ground.path();
        // Others must be able to come as far as the permissions that a test is about.
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        runsync(&path.join("site/site.toml"))
            .arg("init")
            .arg(path.join("root"))
            .args(["--site", "SITE_A", "--confirm", confirm])
            .assert()
            .success();
        let text = fs::read(path.join("root/runsync/repository.json")).unwrap();
        let file = RepositoryFile::parse(&text).unwrap();
        let pem = fs::read_to_string(path.join("site/keys/signing.pem")).unwrap();
        Self {
            origin: file.repository,
            registry: file.registry,
            key: SigningKey::from_pem(&pem).unwrap(),
            ground,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.ground.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = runsync(&self.path("site/site.toml"));
        command.current_dir(self.ground.path());
        command.args(arguments).args(direct(arguments));
        command
    }

    /// Standard output of a command that succeeds.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).assert().success().get_output().clone();
        String::from_utf8(output.stdout).unwrap()
    }

    /// All that a command prints, and how it ends.
    fn all(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let (stdout, stderr) = (
            self.tidy(&String::from_utf8_lossy(&output.stdout)),
            self.tidy(&String::from_utf8_lossy(&output.stderr)),
        );
        let code = output.status.code().unwrap();
        format!("{stdout}{stderr}exit code {code}\n")
    }

    /// Replaces what differs from run to run.
    fn tidy(&self, text: &str) -> String {
        let known = [
            (self.ground.path().to_str().unwrap().to_owned(), "<ground>"),
            (self.origin.to_string(), "<origin>"),
            (self.registry.to_string(), "<registry>"),
            (self.key.public().id().to_string(), "<key id>"),
        ];
        let mut text = text.to_owned();
        for (value, name) in known {
            text = text.replace(&value, name);
        }
        let words = text.split_inclusive([' ', '\n', ',']).map(timeless);
        words
            .collect::<String>()
            .split_inclusive('\n')
            .map(ageless)
            .collect()
    }

    fn additions(&self, run: &str, generation: &str) -> Manifest {
        Manifest::new(self.origin, run, generation, Content::Additions)
    }

    /// Two datasets with their dimension records.
    fn two(&self) -> Manifest {
        self.additions(RUN, "1-1").with_dimensions(3).with_entries([
            entry(1, 1, 1, "a/one.fits", &artifact(1, 10)),
            entry(2, 2, 2, "a/two.fits", &artifact(2, 20)),
        ])
    }

    /// Writes a manifest outside the root.
    fn file(&self, name: &str, manifest: &Manifest) -> PathBuf {
        let path = self.path(name);
        write(&path, &manifest.bytes(Some(&self.key)));
        path
    }

    /// What `query` tells of everything.
    fn registry(&self) -> String {
        let mut all = self.says(&["query", "runs", "--json"]);
        for run in all.clone().lines().map(json) {
            let name = run["name"].as_str().unwrap();
            for what in ["datasets", "records"] {
                all.push_str(&self.says(&["query", what, name, "--json"]));
            }
        }
        all
    }
}

fn runsync(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsync"));
    command.env_clear().arg("--config").arg(config);
    command
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(json).collect()
}

/// A word without a time such as `2026-11-22T07:00:00Z`, or a digest, which holds random UUIDs.
fn timeless(word: &str) -> String {
    let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let is_time = bare.len() >= 20 && bare.ends_with('Z') && bare.contains('T');
    let is_digest = bare.len() == 64 && bare.chars().all(|c| c.is_ascii_hexdigit());
    match (is_time, is_digest) {
        (true, _) => word.replace(bare, "<time>"),
        (_, true) => word.replace(bare, "<sha256>"),
        _ => word.to_owned(),
    }
}

/// A line of `status` without how long ago something was.
fn ageless(line: &str) -> String {
    let Some((head, tail)) = line.split_once(" ago (") else {
        return line.to_owned();
    };
    let verb = ["swept ", "registered "]
        .into_iter()
        .find_map(|verb| Some(head.split_once(verb)?.0.to_owned() + verb));
    format!("{}<age> ago ({tail}", verb.unwrap())
}

/// A dataset for each number, with bytes of its own.
fn many(count: u128) -> impl Iterator<Item = DatasetEntry<'static>> {
    (1..=count).map(|number| {
        let (visit, detector) = (number / 100, number % 100);
        let path = format!("many/{visit}/{detector}.fits");
        let seed = u64::try_from(number).unwrap();
        entry(
            number,
            visit.try_into().unwrap(),
            detector.try_into().unwrap(),
            &path,
            &artifact(seed, 8),
        )
    })
}

#[test]
fn help_of_the_commands_over_data() {
    let config = Path::new("site.toml");
    for words in [
        "ingest",
        "daemon",
        "status",
        "exists",
        "quarantine",
        "quarantine list",
        "quarantine retry",
        "quarantine drop",
        "requests",
        "query",
        "query runs",
        "query datasets",
        "query records",
        "collections",
        "collections list",
        "collections chain",
        "collections associate",
        "remove-collections",
    ] {
        let mut command = runsync(config);
        let output = command
            .args(words.split(' '))
            .arg("--help")
            .assert()
            .success();
        let help = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        insta::assert_snapshot!(format!("help-{}", words.replace(' ', "-")), help);
    }
}

#[test]
fn a_run_is_ingested_asked_for_and_shown() {
    let site = Operator::new("size");
    insta::assert_snapshot!("status-new", site.tidy(&site.says(&["status"])));
    site.file("night.manifest.jsonl", &site.two());
    write(&site.path("root/a/one.fits"), &artifact(1, 10));

    let ingested = site.all(&mut site.run(&["ingest", "night.manifest.jsonl"]));
    insta::assert_snapshot!(ingested, @r"
    night.manifest.jsonl: registered: run u/a/night, generation 1-1, 1 of 2 artifacts confirmed
    exit code 0
    ");
    write(&site.path("root/a/two.fits"), &artifact(2, 20));
    let again = site.says(&["ingest", "--json", "night.manifest.jsonl"]);
    insta::assert_snapshot!(site.tidy(&again), @r#"{"file":"night.manifest.jsonl","state":"registered","path":"runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl","run":"u/a/night","generation":{"epoch":1,"sequence":1},"artifacts":{"confirmed":2,"of":2},"reason":null,"hint":null}"#);

    let [one, nobody] = [1, 77].map(|number| Uuid::from_u128(number).to_string());
    let answers = site.says(&["exists", &one, &nobody]);
    insta::assert_snapshot!(site.tidy(&answers), @r#"
    {"uuid":"00000000-0000-0000-0000-000000000001","exists":"yes","artifacts":[{"uri":"file://<ground>/root/a/one.fits","root":"main","path":"a/one.fits","size":10,"checksums":{"adler32":"0b360272","md5":"2598ec53998b7f8b3edb62b27fe80a98"},"formatter":"lsst.obs.base.formatters.fitsExposure.FitsExposureFormatter","confirmed":true}]}
    {"uuid":"00000000-0000-0000-0000-00000000004d","exists":"no","artifacts":[]}
    "#);
    for words in [
        ["query", "runs"].as_slice(),
        &["query", "datasets", RUN],
        &["query", "records", RUN],
        &["query", "records", RUN, "--waiting"],
    ] {
        let name = words.join("-").replace('/', "_");
        insta::assert_snapshot!(name.clone(), site.tidy(&site.says(words)));
        let json = site.says(&[words, &["--json"]].concat());
        insta::assert_snapshot!(format!("{name}-json"), site.tidy(&json));
    }
}

#[test]
fn status_shows_every_state() {
    let site = Operator::new("size");
    site.file("night", &site.two());
    site.file("later", &site.additions(RUN, "1-4"));
    site.file(
        "removal",
        &Manifest::new(site.origin, "u/a/old", "1-2", Content::Removal),
    );
    site.file("superseded", &site.additions("u/a/old", "1-1"));
    site.file(
        "blocked",
        &site.additions("u/a/blocked", "1-1").with_entries([entry(
            9,
            77,
            1,
            "b/nine.fits",
            &artifact(9, 5),
        )]),
    );
    let stranger = SigningKey::from_seed(&[9; 32]);
    let folder = site.path("root/runsync/manifests");
    write(
        &folder.join("x/1-1.manifest.jsonl"),
        &site.additions("u/a/x", "1-1").bytes(Some(&stranger)),
    );
    write(&folder.join("y/1-1.manifest.jsonl"), b"no manifest\n");
    let told = site.all(&mut site.run(&[
        "ingest",
        "night",
        "later",
        "removal",
        "superseded",
        "blocked",
        "root/runsync/manifests/x/1-1.manifest.jsonl",
        "root/runsync/manifests/y/1-1.manifest.jsonl",
    ]));
    insta::assert_snapshot!("ingest-every-state", told);
    insta::assert_snapshot!("status-every-state", site.tidy(&site.says(&["status"])));
    let status = json(&site.says(&["status", "--json"]));
    assert_eq!(
        status["manifests"],
        serde_json::json!({
            "registered": 3, "held": 0, "blocked": 1, "untrusted": 1, "quarantined": 1,
            "superseded": 1
        })
    );
    assert_eq!(
        status["gaps"][0]["missing"],
        serde_json::json!([{"epoch": 1, "sequence": 2}, {"epoch": 1, "sequence": 3}])
    );
    assert_eq!(status["waiting"][0]["waiting"], 2);
    assert_eq!(
        status["blocked"][0]["blocker"]["conflict"]["conflict"],
        "dimension_missing"
    );
    insta::assert_snapshot!(
        "status-keys",
        serde_json::to_string_pretty(&shape(&status)).unwrap()
    );
}

/// The keys of a value, and the kinds of what they hold.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        Value::Array(values) => values.first().map(shape).into_iter().collect(),
        Value::String(_) => "text".into(),
        Value::Number(_) => "number".into(),
        Value::Bool(_) => "bool".into(),
        Value::Null => Value::Null,
    }
}

#[test]
fn questions_by_the_ten_thousand_are_answered_in_order() {
    let site = Operator::new("trust");
    let large = site.additions("u/a/large", "1-1").with_dimensions(110);
    site.file("large", &large.with_entries(many(10_050)));
    site.run(&["ingest", "large"]).assert().success();

    let asked: Vec<Uuid> = (0..25_000_u128).rev().map(Uuid::from_u128).collect();
    let mut input = String::new();
    for uuid in &asked {
        writeln!(input, "{uuid}").unwrap();
    }
    let output = site.run(&["exists"]).write_stdin(input).assert().success();
    let answers = lines(&String::from_utf8(output.get_output().stdout.clone()).unwrap());
    assert_eq!(answers.len(), asked.len());
    for (uuid, answer) in asked.iter().zip(&answers) {
        assert_eq!(answer["uuid"], uuid.to_string());
        let known = (1..=10_050).contains(&uuid.as_u128());
        assert_eq!(answer["exists"], if known { "yes" } else { "no" });
        assert_eq!(
            answer["artifacts"].as_array().unwrap().len(),
            usize::from(known)
        );
    }

    for what in ["datasets", "records"] {
        let rows = lines(&site.says(&["query", what, "u/a/large", "--json"]));
        let uuids: Vec<_> = rows
            .iter()
            .map(|row| row["uuid"].as_str().unwrap())
            .collect();
        let wanted: Vec<_> = (1..=10_050)
            .map(|n| Uuid::from_u128(n).to_string())
            .collect();
        assert_eq!(uuids, wanted, "{what}");
        let table = site.says(&["query", what, "u/a/large"]);
        assert_eq!(
            table.lines().count(),
            10_051,
            "{what}: a header and every row once"
        );
    }
}

#[test]
fn a_line_that_is_no_uuid_is_named_after_the_answers_before_it() {
    let site = Operator::new("trust");
    let input = format!(
        "{}\n\n{}\nnot-a-uuid\n",
        Uuid::from_u128(1),
        Uuid::from_u128(2)
    );
    let told = site.all(site.run(&["exists"]).write_stdin(input));
    insta::assert_snapshot!(told, @r#"
    {"uuid":"00000000-0000-0000-0000-000000000001","exists":"no","artifacts":[]}
    {"uuid":"00000000-0000-0000-0000-000000000002","exists":"no","artifacts":[]}
    error: cannot read line 4 of standard input, `not-a-uuid`: dataset name `not-a-uuid` is not a UUID
    hint: give one dataset UUID a line
    exit code 2
    "#);
    let told = site.all(site.run(&["exists"]).write_stdin(b"\xff\xfe\n".as_slice()));
    insta::assert_snapshot!(told, @r#"
    error: cannot read line 1 of standard input: stream did not contain valid UTF-8
    exit code 1
    "#);
    let told = site.all(&mut site.run(&["exists", "not-a-uuid"]));
    insta::assert_snapshot!(told, @r#"
    error: invalid value 'not-a-uuid' for '[UUID]...': dataset name `not-a-uuid` is not a UUID

    For more information, try '--help'.
    exit code 2
    "#);
}

/// A way to spoil a manifest, and the file that comes of it.
fn bad_files(site: &Operator) -> Vec<(&'static str, Vec<u8>)> {
    let whole = |run: &str| {
        site.additions(run, "1-1").with_dimensions(3).with_entries([
            entry(11, 1, 1, "bad/one.fits", &artifact(1, 10)),
            entry(12, 2, 2, "bad/two.fits", &artifact(2, 20)),
        ])
    };
    let changed = |run: &str, from: &str, to: &str| {
        let text = String::from_utf8(whole(run).bytes(Some(&site.key))).unwrap();
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1).into_bytes()
    };
    let cut = whole("u/a/cut").bytes(Some(&site.key));
    let cut = cut[..cut.len() / 2].to_vec();
    let stranger = Manifest {
        header: whole("u/z/run").header,
        ..Manifest::new(
            RepositoryId(Uuid::from_u128(0xbad)),
            "u/z/run",
            "1-1",
            Content::Additions,
        )
    };
    let mut stranger_header = stranger;
    stranger_header.header.origin.repository = RepositoryId(Uuid::from_u128(0xbad));
    let twice = site
        .additions("u/a/twice", "1-1")
        .with_dimensions(3)
        .with_entries([
            entry(11, 1, 1, "bad/one.fits", &artifact(1, 10)),
            entry(12, 1, 1, "bad/two.fits", &artifact(2, 20)),
        ]);
    let no_dimension = site.additions("u/a/dimension", "1-1").with_entries([entry(
        13,
        99,
        1,
        "bad/one.fits",
        &artifact(1, 10),
    )]);
    let taken = site.additions("u/a/taken", "1-1").with_entries([entry(
        1,
        2,
        2,
        "bad/one.fits",
        &artifact(1, 10),
    )]);
    let mut other_type = site.additions("u/a/type", "1-1");
    other_type.header.dataset_types[0].storage_class = "ExposureI".parse().unwrap();
    vec![
        (
            "no manifest at all",
            b"SIMPLE  =                    T\n".to_vec(),
        ),
        ("cut short", cut),
        (
            "changed on the way",
            changed("u/a/digest", "bad/one.fits", "bad/oNe.fits"),
        ),
        (
            "signature of another manifest",
            foreign_signature(site, &whole("u/a/signature")),
        ),
        (
            "unknown key",
            whole("u/a/key").bytes(Some(&SigningKey::from_seed(&[9; 32]))),
        ),
        ("no signature", whole("u/a/unsigned").bytes(None)),
        (
            "unknown origin",
            stranger_header.bytes(Some(&SigningKey::from_seed(&[9; 32]))),
        ),
        (
            "newer format",
            changed("u/a/format", "\"format\":1", "\"format\":2"),
        ),
        (
            "a key twice",
            changed("u/a/key-twice", "\"size\":10", "\"size\":10,\"size\":11"),
        ),
        (
            "path outside the root",
            changed("u/a/path", "bad/one.fits", "../../etc/passwd"),
        ),
        (
            "a wrong type",
            changed("u/a/text", "\"size\":10", "\"size\":\"ten\""),
        ),
        ("two datasets of one data ID", twice.bytes(Some(&site.key))),
        (
            "no such dimension record",
            no_dimension.bytes(Some(&site.key)),
        ),
        ("a UUID of another run", taken.bytes(Some(&site.key))),
        (
            "another definition of a dataset type",
            other_type.bytes(Some(&site.key)),
        ),
    ]
}

/// The manifest with the signature of another one in its trailer.
fn foreign_signature(site: &Operator, manifest: &Manifest) -> Vec<u8> {
    let text = String::from_utf8(manifest.bytes(Some(&site.key))).unwrap();
    let other = String::from_utf8(site.two().bytes(Some(&site.key))).unwrap();
    let trailer = |text: &str| json(text.lines().last().unwrap());
    let (own, foreign) = (trailer(&text), trailer(&other));
    let signature = |trailer: &Value| trailer["signature"].as_str().unwrap().to_owned();
    text.replace(&signature(&own), &signature(&foreign))
        .into_bytes()
}

#[test]
fn bad_manifests_are_told_of_and_change_nothing() {
    let site = Operator::new("trust");
    site.file("night", &site.two());
    site.run(&["ingest", "night"]).assert().success();
    let before = site.registry();

    let mut told = String::new();
    for (number, (name, bytes)) in bad_files(&site).into_iter().enumerate() {
        let arrived = format!("root/runsync/manifests/bad/{number}/1-1.manifest.jsonl");
        write(&site.path(&arrived), &bytes);
        let ingested = site.all(&mut site.run(&["ingest", &arrived]));
        writeln!(told, "# {name}\n{ingested}").unwrap();
        assert_eq!(site.registry(), before, "{name}");
    }
    insta::assert_snapshot!("bad-manifests", told);
    insta::assert_snapshot!(
        "quarantine-list",
        site.tidy(&site.says(&["quarantine", "list"]))
    );

    // From outside the root none but the origin's own words are copied in.
    let mut told = String::new();
    for (number, (name, bytes)) in bad_files(&site).into_iter().enumerate() {
        let file = format!("bad-{number}");
        write(&site.path(&file), &bytes);
        let ingested = site.all(&mut site.run(&["ingest", &file]));
        writeln!(told, "# {name}\n{ingested}").unwrap();
        assert_eq!(site.registry(), before, "{name}");
    }
    insta::assert_snapshot!("bad-manifests-from-outside", told);
    let copied = site
        .path("root/runsync/manifests")
        .join(site.origin.to_string())
        .join("u/a");
    let mut runs: Vec<_> = fs::read_dir(copied)
        .unwrap()
        .map(|run| run.unwrap().file_name())
        .collect();
    runs.sort();
    assert_eq!(runs, ["dimension", "night", "taken", "twice", "type"]);
}

#[test]
fn one_bad_file_keeps_no_other_from_being_taken() {
    let site = Operator::new("trust");
    site.file("good", &site.two());
    let third = entry(3, 1, 2, "a/three.fits", &artifact(3, 30));
    let packed = Manifest {
        packing: runsync_manifest::writer::Packing::Zstd(3),
        ..site.additions("u/a/packed", "1-1").with_entries([third])
    };
    site.file("packed", &packed);
    write(&site.path("bad"), b"{}\n");
    fs::create_dir(site.path("folder")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        site.path("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    symlink("good", site.path("link")).unwrap();
    symlink("nowhere", site.path("dangling")).unwrap();
    let files = [
        "missing",
        "bad",
        "folder",
        "fifo",
        "dangling",
        "link",
        "packed",
        "/dev/zero",
    ];
    let told = site.all(site.run(&["ingest"]).args(files));
    insta::assert_snapshot!(told, @r#"
    missing: unreadable: cannot open the file: No such file or directory (os error 2)
      hint: check the name
    bad: refused: line 1, field `kind`: is missing
      hint: the origin must publish a corrected manifest in a later generation; docs/MANIFEST.md describes the format
    folder: unreadable: it is not a regular file
      hint: name a manifest file
    fifo: unreadable: it is not a regular file
      hint: name a manifest file
    dangling: unreadable: cannot open the file: No such file or directory (os error 2)
      hint: check the name
    link: registered: run u/a/night, generation 1-1, 2 of 2 artifacts confirmed
    packed: registered: run u/a/packed, generation 1-1, 1 of 1 artifacts confirmed
    /dev/zero: unreadable: it is not a regular file
      hint: name a manifest file
    error: not registered: 6 of 8 manifests
    exit code 1
    "#);
    let told = site.all(site.run(&["ingest", "--json"]).args(["missing", "good"]));
    insta::assert_snapshot!(told, @r#"
    {"file":"missing","state":"unreadable","path":null,"run":null,"generation":null,"artifacts":null,"reason":"cannot open the file: No such file or directory (os error 2)","hint":"check the name"}
    {"file":"good","state":"registered","path":"runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl","run":"u/a/night","generation":{"epoch":1,"sequence":1},"artifacts":{"confirmed":2,"of":2},"reason":null,"hint":null}
    {"error":{"exit_code":1,"hint":null,"message":"not registered: 1 of 2 manifests","problems":[]}}
    exit code 1
    "#);
}

#[test]
fn an_unsigned_manifest_is_taken_at_an_operators_word() {
    let site = Operator::new("trust");
    write(&site.path("mine"), &site.two().bytes(None));
    insta::assert_snapshot!(site.all(&mut site.run(&["ingest", "mine"])), @r#"
    mine: refused: it carries no signature
      hint: only a manifest of this site's own repository may be taken unsigned: `runsync ingest --unsigned FILE`
    error: not registered: 1 of 1 manifests
    exit code 1
    "#);
    insta::assert_snapshot!(site.all(&mut site.run(&["ingest", "--unsigned", "mine"])), @r#"
    mine: registered: run u/a/night, generation 1-1, 2 of 2 artifacts confirmed
    exit code 0
    "#);
}

#[test]
fn another_manifest_in_the_same_place_is_refused() {
    let site = Operator::new("trust");
    site.file("first", &site.two());
    site.run(&["ingest", "first"]).assert().success();
    site.file("second", &site.additions(RUN, "1-1"));
    insta::assert_snapshot!(site.all(&mut site.run(&["ingest", "second"])), @r#"
    second: refused: another file lies at `runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl` in the root
      hint: a manifest is never replaced: ask the origin for a correction in the next generation
    error: not registered: 1 of 1 manifests
    exit code 1
    "#);
    insta::assert_snapshot!(site.all(&mut site.run(&["ingest", "--root", "other", "first"])), @r#"
    error: there is no root `other`
    hint: `runsync config show` lists the roots
    exit code 2
    "#);
}

#[test]
fn a_quarantined_manifest_is_listed_tried_again_and_dropped() {
    let site = Operator::new("trust");
    let path = "runsync/manifests/x/1-1.manifest.jsonl";
    let file = format!("root/{path}");
    write(&site.path(&file), b"no manifest\n");
    site.run(&["ingest", &file]).assert().code(1);
    let list = || lines(&site.says(&["quarantine", "list", "--json"]));
    assert_eq!(list()[0]["path"], path);

    insta::assert_snapshot!(site.all(&mut site.run(&["quarantine", "retry", "no/such"])), @r#"
    error: cannot find `no/such` in quarantine
    hint: copy the path from `runsync quarantine list`
    exit code 1
    "#);
    insta::assert_snapshot!(site.says(&["quarantine", "retry", path]), @r#"runsync/manifests/x/1-1.manifest.jsonl: will be read again when the daemon starts"#);
    assert_eq!(list(), [Value::Null; 0]);
    site.run(&["ingest", &file]).assert().code(1);
    insta::assert_snapshot!(site.says(&["quarantine", "drop", "--all", "--json"]), @r#"{"root":"main","path":"runsync/manifests/x/1-1.manifest.jsonl","done":"dropped"}"#);
    insta::assert_snapshot!(site.says(&["quarantine", "list"]), @r#"nothing is in quarantine"#);
    insta::assert_snapshot!(site.says(&["quarantine", "retry", "--all"]), @r#"nothing is in quarantine"#);
    let status = json(&site.says(&["status", "--json"]));
    assert_eq!(status["manifests"]["quarantined"], 0);
    assert_eq!(status["manifests"]["superseded"], 1);
}

#[test]
fn answers_do_not_need_the_root() {
    let site = Operator::new("trust");
    site.file("night", &site.two());
    site.run(&["ingest", "night"]).assert().success();
    let one = Uuid::from_u128(1).to_string();
    let ask = || {
        let exists = site.says(&["exists", &one]);
        (exists, site.registry(), site.tidy(&site.says(&["status"])))
    };
    let before = ask();
    rename(&site.path("root"), &site.path("away"));
    assert_eq!(ask(), before);
    let told = site.all(&mut site.run(&["ingest", "night"]));
    insta::assert_snapshot!(told, @r#"
    error: cannot open root `main`: datastore root `<ground>/root` is not there
    hint: see that the storage is mounted; a root that is new needs `runsync init <ground>/root --site NAME`
    exit code 1
    "#);
}

#[test]
fn a_run_that_is_not_there_or_not_the_only_one_is_told() {
    let site = Operator::new("trust");
    insta::assert_snapshot!(site.all(&mut site.run(&["query", "datasets", "u/none"])), @r#"
    error: cannot find run `u/none` in the registry
    hint: list the runs with `runsync query runs`
    exit code 1
    "#);
    insta::assert_snapshot!(site.all(&mut site.run(&["query", "datasets", "../x"])), @r#"
    error: invalid value '../x' for '<RUN>': run name `../x` has a part `.` or `..`

    For more information, try '--help'.
    exit code 2
    "#);
}

#[test]
fn a_daemon_logs_json_and_stops_when_told() {
    let site = Operator::new("size");
    let config = site.path("site/site.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("#format = \"human\"", "format = \"json\"");
    write(&config, text.as_bytes());
    let mut daemon = std::process::Command::new(env!("CARGO_BIN_EXE_runsync"))
        .arg("--config")
        .arg(&config)
        .arg("daemon")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let mut lines = log.by_ref().map(|line| json(&line.unwrap()));
    let serves = lines.find(|line| line["fields"]["message"] == "runsync serves");
    assert_eq!(serves.unwrap()["fields"]["site"], "SITE_A");
    let process = rustix::process::Pid::from_child(&daemon);
    rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
    let last = log.map(Result::unwrap).last().unwrap();
    assert_eq!(json(&last)["fields"]["message"], "stopping");
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

/// The binary, run by an account that owns nothing.
/// These tests are about what is said, not about who says it: no daemon is asked.
fn direct(arguments: &[&str]) -> Option<&'static str> {
    let asks = ["ingest", "status", "exists", "query", "quarantine"];
    let first = arguments.first()?;
    asks.contains(first).then_some("--direct")
}

fn as_nobody(site: &Operator, arguments: &[&str]) -> Command {
    let binary = site.path("runsync");
    if !binary.is_file() {
        // By another process: a handle of ours would be inherited by what other tests start just
        // then, and a file that is open for writing cannot be run.
        Command::new("cp")
            .arg(env!("CARGO_BIN_EXE_runsync"))
            .arg(&binary)
            .assert()
            .success();
        mode(&binary, 0o755);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            format!("--reuid={NOBODY}"),
            format!("--regid={NOBODY}"),
            "--clear-groups".to_owned(),
        ])
        .arg(binary)
        .arg("--config")
        .arg(site.path("site/site.toml"))
        .args(arguments)
        .args(direct(arguments))
        .current_dir(site.ground.path());
    command
}

fn give_all(folder: &Path, to: u32) {
    chown(folder, Some(to), Some(to)).unwrap();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            give_all(&path, to);
        } else {
            chown(&path, Some(to), Some(to)).unwrap();
        }
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn who_may_not_read_is_told_so() {
    let site = Operator::new("size");
    site.file("night", &site.two());
    if !rustix::process::geteuid().is_root() {
        // Nobody else can be played: what the same account may not read is all that can be shown.
        for (path, words) in [
            ("night", ["ingest", "night"].as_slice()),
            ("site/state", &["status"]),
            ("site/state", &["ingest", "night"]),
        ] {
            mode(&site.path(path), 0);
            let told = site.all(&mut site.run(words));
            mode(&site.path(path), 0o700);
            assert!(
                told.contains("Permission denied") && told.contains("hint: "),
                "not run by root, so only with modes taken away: {told}"
            );
        }
        return;
    }
    let told = site.all(&mut as_nobody(&site, &["status"]));
    insta::assert_snapshot!("as-nobody-keys", told);
    give_all(&site.path("site/keys"), NOBODY);
    for words in [
        ["status"].as_slice(),
        &["quarantine", "drop", "--all"],
        &["ingest", "night"],
        &["daemon"],
        &["config", "check"],
    ] {
        let told = site.all(&mut as_nobody(&site, words));
        insta::assert_snapshot!(format!("as-nobody-{}", words[0]), told);
    }
    // A site of their own, but manifests that are not theirs.
    give_all(&site.path("site"), NOBODY);
    give_all(&site.path("root"), NOBODY);
    mode(&site.path("night"), 0o600);
    insta::assert_snapshot!(site.all(&mut as_nobody(&site, &["ingest", "night"])), @r#"
    night: unreadable: cannot open the file: Permission denied (os error 13)
      hint: let the user that you are read it, and search the folders above
    error: not registered: 1 of 1 manifests
    exit code 1
    "#);
    let path = manifest_path(
        site.origin,
        &RUN.parse().unwrap(),
        "1-1".parse().unwrap(),
        false,
    );
    let arrived = site.path("root").join(path);
    write(&arrived, &site.two().bytes(Some(&site.key)));
    mode(&arrived, 0o600);
    let arrived = arrived.to_str().unwrap();
    insta::assert_snapshot!(site.all(&mut as_nobody(&site, &["ingest", arrived])), @r#"
    <ground>/root/runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl: unreadable: cannot open `runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl`: Permission denied (os error 13)
      hint: see that the user that you are may read it
    error: not registered: 1 of 1 manifests
    exit code 1
    "#);
}

/// One line of a listing for `manifest create`, with what it needs before.
fn listing(site: &Operator) -> PathBuf {
    write(&site.path("root/a/one.fits"), &artifact(1, 10));
    let lines = [
        r#"{"kind":"dataset_type","name":"bias","dimensions":["instrument"],"storage_class":"ExposureF","is_calibration":false}"#,
        r#"{"kind":"dimension","element":"instrument","records":[{"name":"X","visit_max":1}]}"#,
        r#"{"path":"a/one.fits","dataset_type":"bias","data_id":{"instrument":"X"}}"#,
    ];
    let path = site.path("listing");
    write(&path, lines.join("\n").as_bytes());
    path
}

fn add_second_root(site: &Operator) {
    let identity = fs::read(site.path("root/runsync/repository.json")).unwrap();
    write(&site.path("second/runsync/repository.json"), &identity);
    let config = site.path("site/site.toml");
    let second = format!(
        "\n[[root]]\nname = \"second\"\nurl = \"file://{}\"\n",
        site.path("second").display()
    );
    let text = fs::read_to_string(&config).unwrap() + &second;
    write(&config, text.as_bytes());
}

fn create(site: &Operator, more: &[&str]) -> Command {
    let words = ["manifest", "create", "--json", "--run", RUN, "--from-jsonl"];
    let mut command = site.run(&words);
    command.arg("listing").args(more);
    command
}

/// The generation of the manifest that was made.
fn generation_of(output: &std::process::Output) -> (u64, u64) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let created: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| created["generation"][name].as_u64().unwrap();
    (number("epoch"), number("sequence"))
}

#[test]
fn manifests_of_a_run_get_one_generation_after_the_other() {
    let site = Operator::new("size");
    listing(&site);
    for sequence in [1, 2] {
        let output = create(&site, &[]).output().unwrap();
        assert_eq!(generation_of(&output), (1, sequence));
    }
    let told = site.all(&mut create(&site, &["--generation", "1-1", "--zstd"]));
    insta::assert_snapshot!(told, @r#"
    {"error":{"exit_code":1,"hint":"a manifest is never replaced: leave out `--generation` for the next one","message":"generation 1-1 of run `u/a/night` is there already","problems":[]}}
    exit code 1
    "#);
}

#[test]
fn a_generation_that_lies_in_another_root_is_taken() {
    let site = Operator::new("size");
    listing(&site);
    add_second_root(&site);
    let (run, generation) = (RUN.parse().unwrap(), "1-5".parse().unwrap());
    let path = manifest_path(site.origin, &run, generation, true);
    write(&site.path("second").join(path), b"anything");
    let output = create(&site, &["--root", "main"]).output().unwrap();
    assert_eq!(generation_of(&output), (1, 6));
}

#[test]
fn manifests_made_at_once_get_different_generations() {
    let site = Operator::new("size");
    listing(&site);
    let mut made: Vec<_> = std::thread::scope(|scope| {
        let makers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| create(&site, &[]).output().unwrap()))
            .collect();
        let outputs = makers.into_iter().map(|maker| maker.join().unwrap());
        outputs.map(|output| generation_of(&output)).collect()
    });
    made.sort_unstable();
    assert_eq!(made, [(1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn artifacts_are_compared_with_the_root_that_is_named() {
    let site = Operator::new("size");
    listing(&site);
    let made = create(&site, &[]).output().unwrap();
    let created: Value = serde_json::from_slice(&made.stdout).unwrap();
    let manifest = created["manifest"].as_str().unwrap();
    let verify = |more: &[&str]| {
        let mut command = site.run(&["manifest", "verify", "--json", manifest]);
        site.all(command.args(more))
    };
    let only = verify(&["--artifacts"]);
    insta::assert_snapshot!(only, @r#"
    {"file":"<ground>/root/runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl","ok":true,"reason":null,"hint":null}
    exit code 0
    "#);

    add_second_root(&site);
    assert_eq!(verify(&["--artifacts", "--root", "main"]), only);
    insta::assert_snapshot!(verify(&["--artifacts", "--root", "second"]), @r#"
    {"path":"a/one.fits","detail":"it is not there"}
    {"file":"<ground>/root/runsync/manifests/<origin>/u/a/night/1-1.manifest.jsonl","ok":true,"reason":null,"hint":null}
    exit code 3
    "#);
    insta::assert_snapshot!(verify(&["--artifacts", "--root", "third"]), @r#"
    {"error":{"exit_code":2,"hint":"`runsync config show` lists the roots","message":"there is no root `third`","problems":[]}}
    exit code 2
    "#);
    insta::assert_snapshot!(verify(&["--artifacts"]), @r#"
    {"error":{"exit_code":2,"hint":"name it with `--root`","message":"cannot tell which root holds the files","problems":[]}}
    exit code 2
    "#);
}

#[test]
fn a_manifest_is_verified_within_the_limits_of_the_site() {
    let site = Operator::new("size");
    site.file("night", &site.two());
    site.run(&["manifest", "verify", "night"])
        .assert()
        .success();
    let config = site.path("site/site.toml");
    let text = fs::read_to_string(&config).unwrap();
    let text = text.replace("[limits]", "[limits]\nentries_max = 1");
    write(&config, text.as_bytes());
    insta::assert_snapshot!(site.all(&mut site.run(&["manifest", "verify", "--json", "night"])), @r#"
    {"file":"night","ok":false,"reason":"cannot read night: line 8: more than 1 dataset lines","hint":"if the file is honest, raise the limit in the configuration; else ask its origin for smaller manifests"}
    {"error":{"exit_code":1,"hint":null,"message":"1 of 1 manifests are wrong","problems":[]}}
    exit code 1
    "#);
}
