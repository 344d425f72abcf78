//! The commands that make and show a site, as an operator meets them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, with room for sites.
struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `runsync --config <site>/site.toml …`
    fn runsync(&self, site: &str) -> Command {
        let mut command = runsync();
        command
            .arg("--config")
            .arg(self.path(site).join("site.toml"));
        command
    }

    fn init(&self, site: &str) -> Command {
        let mut command = self.runsync(site);
        let root = self.path(&format!("{site}-root"));
        command.arg("init").arg(root).args(["--site", site]);
        command
    }

    fn with_site(self, site: &str) -> Self {
        self.init(site).assert().success();
        self
    }

    /// What `site` sends to others, in a file.
    fn public_key(&self, site: &str) -> PathBuf {
        let file = self.path(&format!("{site}.json"));
        let shown = self.runsync(site).args(["keys", "show"]).assert().success();
        write(&file, &shown.get_output().stdout);
        file
    }

    /// Adds `[[peer]]` for `peer` to the file of `site`.
    fn add_peer(&self, site: &str, peer: &str) {
        self.add_origin(site, peer, &self.public_key(peer));
    }

    /// Adds a `[[peer]]` whose origin is the repository that a JSON file names.
    fn add_origin(&self, site: &str, peer: &str, named_in: &Path) {
        let origin = field(named_in, "repository");
        let file = self.path(site).join("site.toml");
        let text = fs::read_to_string(&file).unwrap();
        let block = format!(
            "[[peer]]\nsite = '{peer}'\norigin = '{origin}'\nrun_prefixes = ['u/{peer}']\n"
        );
        write(&file, format!("{text}\n{block}").as_bytes());
    }

    /// Replaces what differs from run to run.
    fn tidy(&self, text: &[u8]) -> String {
        let text =
            String::from_utf8_lossy(text).replace(&*self.0.path().to_string_lossy(), "<ground>");
        let word = |word: &str| {
            let bare = word.trim_matches(|c: char| !c.is_ascii_hexdigit());
            let hex = bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            match bare.len() {
                36 if hex => word.replace(bare, "<uuid>"),
                32 if hex => word.replace(bare, "<key id>"),
                _ => word.to_owned(),
            }
        };
        let words = text.split_inclusive([' ', '\n']).map(word);
        words.collect()
    }
}

fn runsync() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runsync"));
    command.env_clear();
    command
}

fn json(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's own files need no durability"
)]
fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
}

/// A text of an object in a JSON file.
fn field(file: &Path, name: &str) -> String {
    let object = json(&fs::read(file).unwrap());
    object.get(name).unwrap().as_str().unwrap().to_owned()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn stdout(command: &mut Command) -> Vec<u8> {
    command.assert().success().get_output().stdout.clone()
}

fn stderr(command: &mut Command, code: i32) -> Vec<u8> {
    let output = command.assert().code(code).get_output().clone();
    assert!(output.stdout.is_empty());
    output.stderr
}

/// All files below a folder, those that are no databases with their bytes, and the folders.
fn tree(folder: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
            found.push((path, None));
        } else {
            // A database that was opened twice need not be the same bytes.
            let is_database = path.to_string_lossy().contains(".sqlite3");
            let bytes = (!is_database).then(|| fs::read(&path).unwrap());
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

#[test]
fn help_tells_commands_and_exit_codes() {
    for (name, arguments) in [
        ("runsync", vec![]),
        ("init", vec!["init"]),
        ("config", vec!["config"]),
        ("keys", vec!["keys"]),
        ("keys-trust", vec!["keys", "trust"]),
        ("completions", vec!["completions"]),
    ] {
        let help = stdout(runsync().args(arguments).arg("--help"));
        let help = String::from_utf8(help).unwrap();
        insta::assert_snapshot!(format!("help-{name}"), help);
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    runsync().arg("rejoice").assert().code(2);
    runsync()
        .args(["init", "/nonexistent/a/..", "--site", "A"])
        .assert()
        .code(2);
    let odd = std::ffi::OsStr::from_bytes(b"/nonexistent/\xff");
    let mut command = runsync();
    command.args(["--config", "/nonexistent/site.toml", "init", "--site", "A"]);
    command.arg(odd).assert().code(2);
}

#[test]
fn init_makes_a_site_that_passes_its_check() {
    let ground = Ground::new();
    let made = stdout(&mut ground.init("A"));
    insta::assert_snapshot!(ground.tidy(&made), @r#"
    made the site A
      repository     <uuid>
      root           <ground>/A-root
      configuration  <ground>/A/site.toml
      signing key    <ground>/A/keys/signing.pem
      public key     <ground>/A/keys/public.json
      state          <ground>/A/state

    next:
      runsync --config <ground>/A/site.toml config check
      send <ground>/A/keys/public.json to the other sites, for `runsync keys trust`
      runsync --config <ground>/A/site.toml daemon
    "#);
    assert_eq!(mode(&ground.path("A/keys/signing.pem")), 0o600);
    assert_eq!(mode(&ground.path("A/state")), 0o700);
    assert!(!ground.path("A/site.toml.init").is_file());
    let checked = stdout(ground.runsync("A").args(["config", "check"]));
    insta::assert_snapshot!(ground.tidy(&checked), @r#"<ground>/A/site.toml: ok"#);
    let repository = json(&fs::read(ground.path("A-root/runsync/repository.json")).unwrap());
    let public = json(&fs::read(ground.path("A/keys/public.json")).unwrap());
    assert_eq!(repository["site"], "A");
    assert_eq!(repository["repository"], public["repository"]);
    assert_ne!(repository["repository"], repository["registry"]);
}

#[test]
fn init_may_be_repeated() {
    let ground = Ground::new().with_site("A");
    let before = tree(ground.0.path());
    let again = json(&stdout(ground.init("A").arg("--json")));
    assert_eq!(again["state"], "whole");
    assert_eq!(tree(ground.0.path()), before);
}

#[test]
fn init_leaves_what_the_root_holds_alone() {
    let ground = Ground::new();
    let run = ground.path("A-root/runsync/manifests/some/run");
    fs::create_dir_all(&run).unwrap();
    write(&run.join("1-1.manifest.jsonl"), b"carried here before");
    ground.init("A").assert().success();
    assert!(run.join("1-1.manifest.jsonl").is_file());
}

#[test]
fn init_gives_what_it_made_to_the_user_of_the_daemon() {
    let ground = Ground::new();
    let mut unknown = ground.init("A");
    stderr(unknown.args(["--owner", "nobody-of-that-name"]), 2);
    assert!(!ground.path("A").is_dir());
    let me = fs::metadata(ground.0.path()).unwrap().uid();
    if me != 0 {
        return; // Only root can give files away.
    }
    ground
        .init("A")
        .args(["--owner", "nobody"])
        .assert()
        .success();
    let given = |path: &str| fs::metadata(ground.path(path)).unwrap().uid() != me;
    for path in [
        "A/keys/signing.pem",
        "A/keys/trusted",
        "A/state",
        "A-root/runsync/manifests",
    ] {
        assert!(given(path), "{path}");
    }
    assert!(given("A-root/runsync/repository.json"));
    assert!(!given("A/site.toml") && !given("A-root"));
}

#[test]
fn init_refuses_what_is_anothers() {
    let ground = Ground::new().with_site("A");
    let mut command = ground.runsync("B");
    command
        .arg("init")
        .arg(ground.path("A-root"))
        .args(["--site", "B"]);
    let refusal = stderr(&mut command, 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot make the site B: <ground>/A-root/runsync/repository.json is there already
    hint: choose another root or, with `--config FILE`, another folder; or move what is there away
    "#);
    let mut command = ground.runsync("A");
    command
        .arg("init")
        .arg(ground.path("C-root"))
        .args(["--site", "C"]);
    let refusal = stderr(&mut command, 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot make the site C: <ground>/A/site.toml is there already
    hint: choose another root or, with `--config FILE`, another folder; or move what is there away
    "#);
    assert!(!ground.path("C-root").is_dir());
}

/// Every state that a kill can leave is the finished site less what comes after some step.
#[test]
fn an_init_cut_short_anywhere_is_finished_with_the_same_identity() {
    let ground = Ground::new().with_site("A");
    let whole = tree(ground.0.path());
    let repository = json(&fs::read(ground.path("A-root/runsync/repository.json")).unwrap());
    let intent = serde_json::json!({
        "site": "A", "root": ground.path("A-root"), "confirm": "size",
        "repository": repository["repository"], "registry": repository["registry"],
    });
    let steps = [
        "A-root/runsync/repository.json",
        "A/site.toml",
        "A-root/runsync/manifests",
        "A-root/runsync",
        "A/state",
        "A/keys/trusted",
        "A/keys/public.json",
    ];
    for cut in 0..=steps.len() {
        for step in steps.iter().take(cut) {
            let path = ground.path(step);
            let removed = if path.is_dir() {
                fs::remove_dir_all(&path)
            } else {
                fs::remove_file(&path)
            };
            removed.unwrap();
        }
        write(
            &ground.path("A/site.toml.init"),
            intent.to_string().as_bytes(),
        );
        let finished = json(&stdout(ground.init("A").arg("--json")));
        assert_eq!(finished["state"], "finished");
        assert!(
            tree(ground.0.path()) == whole,
            "cut after {cut} steps, it ends otherwise"
        );
        stdout(ground.runsync("A").args(["config", "check"]));
    }
}

#[test]
fn an_init_killed_at_any_moment_is_finished() {
    let ground = Ground::new();
    for millisecond in 0..40 {
        let site = format!("S{millisecond}");
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runsync"));
        command
            .arg("--config")
            .arg(ground.path(&site).join("site.toml"));
        command
            .arg("init")
            .arg(ground.path(&format!("{site}-root")));
        command
            .args(["--site", &site])
            .stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(millisecond));
        child.kill().unwrap();
        child.wait().unwrap();
        ground.init(&site).assert().success();
        ground
            .runsync(&site)
            .args(["config", "check"])
            .assert()
            .success();
        assert!(!ground.path(&site).join("site.toml.init").is_file());
    }
}

#[test]
fn an_init_cut_short_is_not_finished_as_another() {
    let ground = Ground::new().with_site("A");
    fs::remove_file(ground.path("A-root/runsync/repository.json")).unwrap();
    let intent = serde_json::json!({
        "site": "A", "root": ground.path("A-root"), "confirm": "size",
        "repository": "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11",
        "registry": "0e6ad1a6-54a4-4d55-b0a6-b8a2e3a2f0c4",
    });
    write(
        &ground.path("A/site.toml.init"),
        intent.to_string().as_bytes(),
    );
    let refusal = stderr(ground.init("A").args(["--confirm", "trust"]), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot make the site A: an `init` of A at <ground>/A-root was cut short here
    hint: finish that one with the arguments it had, or remove <ground>/A/site.toml.init
    "#);
}

#[test]
fn a_missing_configuration_ends_with_78() {
    let ground = Ground::new();
    let refusal = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot read the configuration file <ground>/A/site.toml: No such file or directory (os error 2)
    hint: name it with `--config FILE`, or make a site with `runsync init`
    "#);
}

#[test]
fn check_tells_every_problem_of_the_file_at_once() {
    let ground = Ground::new().with_site("A");
    write(
        &ground.path("A/site.toml"),
        b"[site]\nnmae = 'A'\n[[root]]\nname = 'main'\nurl = 's3://b'\n",
    );
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 3 problems
    line 1: `site.name` is missing
      hint: add `name = "SITE_A"`
    line 2: `site.nmae` is not a key here
      hint: did you mean `name`?
    line 5: `root[0].url` has the scheme `s3`, which this version cannot serve
      hint: a root is a folder: "file:///data/site_a"
    "#);
    let problems = json(&stderr(
        ground.runsync("A").args(["config", "check", "--json"]),
        78,
    ));
    assert_eq!(problems["error"]["exit_code"], 78);
    assert_eq!(problems["error"]["problems"][1]["key"], "site.nmae");
}

#[test]
fn check_tells_what_the_file_names_and_is_not_there() {
    let ground = Ground::new().with_site("A").with_site("B");
    fs::set_permissions(
        ground.path("A/keys/signing.pem"),
        Permissions::from_mode(0o644),
    )
    .unwrap();
    fs::remove_dir_all(ground.path("A/state")).unwrap();
    let file = ground.path("A/site.toml");
    let text = fs::read_to_string(&file).unwrap();
    let root = |name: &str, folder: &str| {
        let folder = ground.path(folder);
        format!(
            "[[root]]\nname = '{name}'\nurl = 'file://{}'\n",
            folder.display()
        )
    };
    let roots = root("theirs", "B-root") + &root("unmounted", "gone");
    write(
        &file,
        (text.replace("#filter = \"info\"", "filter = 'runsync=lots'") + &roots).as_bytes(),
    );
    ground.add_origin("A", "Z", &ground.path("A-root/runsync/repository.json"));
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 7 problems
    line 9: `site.signing_key_file` cannot be used: the secret file <ground>/A/keys/signing.pem is open to others (mode 0644)
      hint: run `chmod 0600 <ground>/A/keys/signing.pem`
    line 13: `site.state_directory` cannot be used: <ground>/A/state is no folder
      hint: run `mkdir -p -m 0700 <ground>/A/state` as the user that runs the daemon
    line 313: `log.filter` cannot be used: cannot read the log filter `runsync=lots`: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5
    line 316: `root[1].url` cannot be used: the root belongs to the site `B`, not to `A`
      hint: name the root of this site, or rename the site
    line 316: `root[1].url` cannot be used: the root belongs to another repository or registry than `root[0].url`
      hint: all roots of a site belong to one registry
    line 319: `root[2].url` cannot be used: cannot open <ground>/gone: No such file or directory (os error 2)
      hint: check that its file system is mounted, and its permissions
    line 323: `peer[0].origin` cannot be used: it is this site's own repository
      hint: ask the peer for its `runsync keys show`
    "#);
}

#[test]
fn a_registry_that_is_missing_or_anothers_is_a_problem() {
    let ground = Ground::new().with_site("A").with_site("B");
    let own = ground.path("A/state/registry.sqlite3");
    fs::remove_file(&own).unwrap();
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 1 problem
    line 23: `registry.file` cannot be used: cannot open the registry `<ground>/A/state/registry.sqlite3`: No such file or directory (os error 2)
      hint: see that its file system is mounted; `runsync init` makes it for a new site, and a backup brings back a lost one
    "#);
    fs::copy(ground.path("B/state/registry.sqlite3"), &own).unwrap();
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 1 problem
    line 33: `root[0].url` cannot be used: the root is bound to registry <uuid>, and `registry.file` is <uuid>
      hint: name the registry that the root was made with; a root keeps it for ever
    "#);
    fs::copy(ground.path("A/state/ledger.sqlite3"), &own).unwrap();
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 1 problem
    line 23: `registry.file` cannot be used: `<ground>/A/state/registry.sqlite3` is not a runsync registry
      hint: correct the file's name in the configuration, or move the other file away
    "#);
}

#[test]
fn init_finishes_no_site_over_another_registry() {
    let ground = Ground::new().with_site("A").with_site("B");
    fs::remove_file(ground.path("A-root/runsync/repository.json")).unwrap();
    fs::remove_file(ground.path("A/site.toml")).unwrap();
    let intent = serde_json::json!({
        "site": "A", "root": ground.path("A-root"), "confirm": "size",
        "repository": "7f1f8a52-6f0e-4b9c-9c53-0d2a4c1b7e11",
        "registry": "0e6ad1a6-54a4-4d55-b0a6-b8a2e3a2f0c4",
    });
    write(
        &ground.path("A/site.toml.init"),
        intent.to_string().as_bytes(),
    );
    let refusal = stderr(&mut ground.init("A"), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: `<ground>/A/state/registry.sqlite3` is the registry <uuid>, not <uuid>
    hint: move the file away, or choose another state directory
    "#);
    assert!(!ground.path("A/site.toml").is_file());
}

#[test]
fn show_prints_a_configuration_that_loads_to_the_same() {
    let ground = Ground::new().with_site("A");
    let shown = stdout(ground.runsync("A").args(["config", "show"]));
    write(&ground.path("A/site.toml"), &shown);
    assert_eq!(stdout(ground.runsync("A").args(["config", "show"])), shown);
    insta::assert_snapshot!(ground.tidy(&shown), @r#"
    # <ground>/A/site.toml
    peer = []

    [site]
    name = "A"
    state_directory = "<ground>/A/state"
    signing_key_file = "<ground>/A/keys/signing.pem"
    trusted_keys_directory = "<ground>/A/keys/trusted"
    run_prefixes = []

    [registry]
    backend = "sqlite"
    file = "<ground>/A/state/registry.sqlite3"

    [[root]]
    name = "main"
    url = "file://<ground>/A-root"
    path_mapping = "identity"
    deleter = "runsync"
    scan_deletes = false
    confirm = "size"
    events = true
    sweep_interval = "10m"
    settle = "10s"
    torn_deadline = "1day"
    waiting_deadline = "1day"
    watched_directories_max = 1024
    confirm_threads = 2

    [limits]
    line_bytes_max = "1MiB"
    packed_bytes_max = "2GiB"
    unpacked_bytes_max = "2GiB"
    unpacked_ratio_max = 50
    zstd_window_log_max = 23
    entries_max = 5000000

    [http]
    socket = "<ground>/A/state/runsync.sock"
    operators = []
    readers = ["*"]
    body_bytes_max = "8MiB"
    requests_per_second = 1000
    concurrent_requests_max = 8
    connections_max = 256
    header_timeout = "30s"
    stall_timeout = "30s"

    [lease]
    duration = "30s"

    [removal]
    runs_max = 100
    datasets_max = 1000000
    bytes_max = "20TiB"
    share_max = "25%"
    late_arrivals = "1day"

    [repair]
    apart = "1day"
    dark_age = "7days"
    lost = "report"
    claimed = "report"
    dark = "report"
    corrupt = "report"
    site_only = "report"
    declare = "bad"
    share_max = 0.01
    artifacts_max = 10000
    bytes_max = "20TiB"

    [events]
    hints_max = 1000000
    hint_lifetime = "1day"
    poison_max = 1000
    message_bytes_max = "1MiB"

    [log]
    format = "human"
    filter = "info"
    "#);
    let json = json(&stdout(
        ground.runsync("A").args(["config", "show", "--json"]),
    ));
    assert_eq!(json["root"][0]["sweep_interval"], "10m");
}

#[test]
fn a_key_is_trusted_listed_and_revoked() {
    let ground = Ground::new().with_site("A").with_site("B");
    let key = ground.public_key("B");
    let trust = || {
        let mut command = ground.runsync("A");
        command.args(["keys", "trust"]).arg(&key);
        command
    };
    let stranger = stderr(&mut trust(), 1);
    insta::assert_snapshot!(ground.tidy(&stranger), @r#"
    error: cannot trust a key of B: no peer has the origin <uuid>
    hint: add to <ground>/A/site.toml:

    [[peer]]
    site = "B"
    origin = "<uuid>"
    run_prefixes = []  # how the names of its runs begin
    "#);

    ground.add_peer("A", "B");
    let checked = stdout(ground.runsync("A").args(["config", "check"]));
    insta::assert_snapshot!(ground.tidy(&checked), @r#"
    <ground>/A/site.toml: ok
    note: no key of B is trusted: its manifests stay `untrusted` until `runsync keys trust FILE`
    "#);
    let trusted = stdout(&mut trust());
    insta::assert_snapshot!(ground.tidy(&trusted), @r#"
    key <key id> of B is trusted now
    next: `systemctl reload runsync`, or SIGHUP to the daemon
    "#);
    assert!(
        json(&stdout(trust().arg("--json")))["already"]
            .as_bool()
            .unwrap()
    );
    let listed = stdout(ground.runsync("A").args(["keys", "list"]));
    insta::assert_snapshot!(ground.tidy(&listed), @r#"
    key id                            site  origin                                state
    <key id>  B     <uuid>  trusted
    "#);

    let key_id = field(&key, "key_id");
    let revoked = stdout(ground.runsync("A").args(["keys", "revoke", &key_id]));
    insta::assert_snapshot!(ground.tidy(&revoked), @r#"
    key <key id> of B is revoked now
    next: `systemctl reload runsync`, or SIGHUP to the daemon
    "#);
    let listed = stdout(ground.runsync("A").args(["keys", "list", "--json"]));
    assert_eq!(json(&listed)["state"], "revoked");
    let again = stderr(&mut trust(), 1);
    insta::assert_snapshot!(ground.tidy(&again), @r#"
    error: cannot trust key <key id>: it was revoked here
    hint: let its site make another key; a revoked one is not taken back
    "#);
}

#[test]
fn what_is_no_key_is_not_trusted() {
    let ground = Ground::new().with_site("A").with_site("B");
    ground.add_peer("A", "B");
    let file = ground.public_key("B");
    let mut key = json(&fs::read(&file).unwrap());
    key["key_id"] = "00000000000000000000000000000000".into();
    write(&file, key.to_string().as_bytes());
    let refusal = stderr(ground.runsync("A").args(["keys", "trust"]).arg(&file), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot take <ground>/B.json for a public key file: its `key_id` is not that of its `public_key`, which is <key id>
    hint: the file must be what `runsync keys show` prints at the other site
    "#);
    write(&file, b"-----BEGIN PRIVATE KEY-----");
    let refusal = stderr(ground.runsync("A").args(["keys", "trust"]).arg(&file), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot take <ground>/B.json for a public key file: invalid number at line 1 column 2
    hint: the file must be what `runsync keys show` prints at the other site
    "#);
    let unknown = "00000000000000000000000000000000";
    let refusal = stderr(ground.runsync("A").args(["keys", "revoke", unknown]), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"
    error: cannot revoke key <key id>: cannot read <ground>/A/keys/trusted/00000000000000000000000000000000.json: No such file or directory (os error 2)
    hint: `runsync keys list` shows the keys that are known
    "#);
}

#[test]
fn our_own_key_is_not_trusted() {
    let ground = Ground::new().with_site("A");
    let file = ground.public_key("A");
    let refusal = stderr(ground.runsync("A").args(["keys", "trust"]).arg(&file), 1);
    insta::assert_snapshot!(ground.tidy(&refusal), @r#"error: cannot trust our own key: it is the other sites that must"#);
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let ground = Ground::new().with_site("A");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let config = ground.path("A/site.toml");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_runsync"));
    command.arg("--config").arg(config).args(["config", "show"]);
    let child = command
        .stdout(writer)
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stderr, b"");
}

#[test]
fn a_broken_key_file_keeps_the_site_from_loading() {
    let ground = Ground::new().with_site("A");
    write(&ground.path("A/keys/trusted/00.json"), b"{");
    let problems = stderr(ground.runsync("A").args(["config", "check"]), 78);
    insta::assert_snapshot!(ground.tidy(&problems), @r#"
    error: <ground>/A/site.toml has 1 problem
    line 9: `site.trusted_keys_directory` is refused: cannot take <ground>/A/keys/trusted/00.json for a public key file: EOF while parsing an object at line 1 column 1
      hint: move the file away and run `runsync keys trust FILE` with what the site sent
    "#);
}

#[test]
fn a_key_of_a_peer_that_was_taken_out_is_a_note() {
    let ground = Ground::new().with_site("A").with_site("B");
    let key = ground.public_key("B");
    let key_id = field(&key, "key_id");
    fs::copy(&key, ground.path(&format!("A/keys/trusted/{key_id}.json"))).unwrap();
    let checked = stdout(ground.runsync("A").args(["config", "check"]));
    insta::assert_snapshot!(ground.tidy(&checked), @r#"
    <ground>/A/site.toml: ok
    note: key <key id> of B is ignored: no peer has the origin <uuid>
    "#);
}

#[test]
fn the_configuration_may_be_named_by_the_environment() {
    let ground = Ground::new().with_site("A");
    let mut command = runsync();
    command.env("RUNSYNC_CONFIG", ground.path("A/site.toml"));
    command.args(["config", "check"]).assert().success();
}

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = stdout(runsync().args(["completions", shell]));
        assert!(
            String::from_utf8(script).unwrap().contains("runsync"),
            "{shell}"
        );
    }
}
