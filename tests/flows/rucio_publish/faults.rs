//! What goes wrong with publishing: what it says, what it leaves in Rucio, and that it goes through
//! once that is put right.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use harness::{Naming, Rucio};
use runsync_manifest::content::Content;
use serde_json::{Value, json};

use crate::World;
use crate::between::{Between, Ended, When};
use crate::proof::shown;
use crate::rucio::{ACCOUNT, RucioSite, add_scope};
use crate::state::{self, Of};
use crate::support::{TestSite, write};

/// One site, whose requests are seen.
struct Scene<'w> {
    server: &'w Rucio,
    site: RucioSite,
    between: Between,
}

impl<'w> Scene<'w> {
    fn new(world: &'w World, rse: &str, naming: Naming) -> Self {
        let site = RucioSite::new(&world.server, rse, naming, "");
        let between = Between::new(world.server.port());
        site.configure(&between.url(), "bulk = 3");
        Self {
            server: &world.server,
            site,
            between,
        }
    }

    /// A run of seven artifacts.
    fn run(&self, name: &str) -> String {
        let run = format!("u/{}/{name}", self.site.rse.name.to_lowercase());
        self.site.add(&run, "1-1", Content::Additions, 0..7);
        run
    }

    fn publish(&self, runs: &[&str]) -> Ended {
        let args = [&["publish"], runs, &["--direct"]].concat();
        self.between.run(&mut self.site.site.command(&args))
    }

    /// Publishing a run fails with these words; what it asked.
    fn fails(&self, run: &str, words: &[&str]) -> Vec<String> {
        let ended = self.publish(&[run]);
        assert_eq!(ended.status.code(), Some(1), "{run}: {}", ended.stderr);
        for words in words {
            assert!(ended.stderr.contains(words), "{words}: {}", ended.stderr);
        }
        ended.asked
    }

    fn goes_through(&self, run: &str) {
        let ended = self.publish(&[run]);
        assert!(ended.status.success(), "{run}: {}", ended.stderr);
        assert_eq!(self.row(run)["state"], "published");
        assert_eq!(self.row(run)["problem"], Value::Null);
        let rows = self.rows(run);
        assert!(self.is_announced(&rows), "{rows:#?}");
    }

    /// What `publish --list` says of a run's first instalment.
    fn row(&self, run: &str) -> Value {
        let rows = self
            .site
            .site
            .directly(&["publish", run, "--list", "--json"]);
        serde_json::from_str(rows.lines().next().unwrap()).unwrap()
    }

    fn rows(&self, run: &str) -> Vec<String> {
        state::rucio(self.server, Of::Run(run))
    }

    fn is_announced(&self, rows: &[String]) -> bool {
        let control = format!(" runsync/control/{} ", self.site.site.repository);
        let announced = rows
            .iter()
            .any(|row| row.starts_with("content ") && row.contains(&control));
        let held = rows.iter().any(|row| {
            row.starts_with("content ") && row.contains(" RUN ") && row.contains(" C D ")
        });
        assert_eq!(announced, held);
        announced
    }

    /// Nothing of a run is closed, has a rule, or is announced.
    fn is_open(&self, run: &str) {
        let rows = self.rows(run);
        assert!(!self.is_announced(&rows), "{rows:#?}");
        let ruled = rows.iter().any(|row| row.starts_with("rule "));
        let closed = rows
            .iter()
            .any(|row| row.starts_with("did ") && row.contains(" D f "));
        assert!(!ruled && !closed, "{rows:#?}");
    }

    fn instalment(&self, run: &str) -> String {
        let origin = self.site.site.repository;
        format!("runsync/instalments/{origin}/{run}/1-1")
    }

    fn did_path(&self, name: &str) -> String {
        let (scope, name) = (&self.site.scope, name.replace('/', "%2F"));
        format!("/dids/{scope}/{name}")
    }

    fn make(&self, name: &str, kind: &str) {
        let body = json!([{"scope": self.site.scope, "name": name, "type": kind}]);
        self.server.must("POST", "/dids", Some(&body)).unwrap();
    }

    fn set_open(&self, name: &str, open: bool) {
        let path = format!("{}/status", self.did_path(name));
        self.server
            .must("PUT", &path, Some(&json!({"open": open})))
            .unwrap();
    }
}

pub(crate) fn orders(world: &World) {
    let scene = Scene::new(world, "FAULT_ORDERS", Naming::Identity);
    let asked = scene.fails("u/none", &["u/none"]);
    assert_eq!(asked, [""; 0]);
    shown("an unknown run", "refused, nothing asked");

    let waiting = "u/fault_orders/waits";
    let manifest = scene.site.place(waiting, "1-1", Content::Additions, 0..7);
    fs::remove_file(
        scene
            .site
            .site
            .root()
            .join(format!("{waiting}/calexp/3.fits")),
    )
    .unwrap();
    scene.site.ingest(&[manifest]);
    let asked = scene.fails(waiting, &["waits", "confirmed"]);
    assert_eq!(asked, [""; 0]);
    shown("a run that waits", "refused, nothing asked");

    let blank = "u/fault_orders/a b";
    scene.site.add(blank, "1-1", Content::Additions, 0..7);
    let asked = scene.fails(blank, &["a b/calexp/0.fits"]);
    assert!(
        asked
            .iter()
            .all(|asked| asked.starts_with("GET /auth/") || asked.starts_with("GET /rses/")),
        "{asked:?}"
    );
    assert_eq!(scene.rows(blank), [""; 0]);
    shown(
        "a path that Rucio's schema does not have",
        "refused before anything is sent",
    );

    // One run that cannot be published holds up no other.
    let (taken, good) = (scene.run("taken"), scene.run("good"));
    scene.make(&taken, "DATASET");
    let ended = scene.publish(&[&taken, &good]);
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stderr.contains(&taken), "{}", ended.stderr);
    assert_eq!(scene.row(&good)["state"], "published");
    assert_eq!(scene.row(&taken)["state"], "ordered");
    shown(
        "two runs, of which one cannot be published",
        "exit 1, the other is published",
    );
    let registered = scene.rows(&taken);
    let replicas = registered.iter().filter(|row| row.starts_with("replica "));
    assert_eq!(replicas.count(), 0, "{registered:#?}");
    shown(
        "the container's name is a Rucio dataset's",
        "says so, nothing registered",
    );
}

pub(crate) fn contradictions(world: &World) {
    let scene = Scene::new(world, "FAULT_FILES", Naming::Identity);
    let run = scene.run("checksum");
    let name = format!("{run}/calexp/4.fits");
    let file =
        json!({"scope": scene.site.scope, "name": name, "bytes": 104, "adler32": "0badbad0"});
    let body = json!({"rse": scene.site.rse.name, "files": [file]});
    scene.server.must("POST", "/replicas", Some(&body)).unwrap();
    scene.fails(&run, &[&name, "adler32 is 0badbad0 in Rucio"]);
    scene.is_open(&run);
    assert!(scene.row(&run)["problem"].as_str().unwrap().contains(&name));
    shown(
        "an artifact that Rucio has with another checksum",
        "named, nothing closed or announced, the reason kept",
    );
    let right = "12f032be";
    for table in ["dids", "replicas"] {
        let sql = format!("update {table} set adler32 = '{right}' where name = '{name}'");
        scene.server.sql(&sql).unwrap();
    }
    scene.goes_through(&run);
    shown("the same, put right", "goes through");

    let run = scene.run("stray");
    let dataset = scene.instalment(&run);
    scene.make(&dataset, "DATASET");
    let stray = scene.site.site.root().join("stray.fits");
    write(&stray, b"stray");
    let file =
        json!({"scope": scene.site.scope, "name": "stray.fits", "bytes": 5, "adler32": "06810231"});
    let body = json!({"rse": scene.site.rse.name, "files": [file]});
    scene.server.must("POST", "/replicas", Some(&body)).unwrap();
    let children = json!({"dids": [{"scope": scene.site.scope, "name": "stray.fits"}]});
    let path = format!("{}/dids", scene.did_path(&dataset));
    scene.server.must("POST", &path, Some(&children)).unwrap();
    scene.fails(&run, &["root:stray.fits (5 bytes", "holds 9 files"]);
    scene.is_open(&run);
    shown(
        "a stray file in the instalment's Rucio dataset",
        "named, nothing closed or announced",
    );
    scene.server.must("DELETE", &path, Some(&children)).unwrap();
    scene.goes_through(&run);
    shown("the same, taken out", "goes through");

    // All is attached, and before anyone looks one is taken out.
    let run = scene.run("detached");
    let dataset = scene.instalment(&run);
    let kill = scene.run("whole");
    let asked = scene.publish(&[&kill]).asked;
    let contents = asked
        .iter()
        .position(|asked| asked.starts_with("GET /dids/") && asked.ends_with("1-1/dids"));
    let number = contents.unwrap() + 1;
    let mut publish = scene.site.site.command(&["publish", &run, "--direct"]);
    let ended = scene.between.kill(&mut publish, number, When::Before);
    assert!(!ended.status.success());
    let lost =
        json!({"dids": [{"scope": scene.site.scope, "name": format!("{run}/calexp/1.fits")}]});
    let path = format!("{}/dids", scene.did_path(&dataset));
    scene.server.must("DELETE", &path, Some(&lost)).unwrap();
    scene.fails(&run, &["holds 7 files"]);
    scene.is_open(&run);
    scene.goes_through(&run);
    shown(
        "an artifact that someone has detached",
        "said, and attached again by the next `publish`",
    );

    closed(&scene);
}

/// Someone closes an instalment before it is whole.
fn closed(scene: &Scene<'_>) {
    let run = scene.run("closed");
    let dataset = scene.instalment(&run);
    scene.make(&dataset, "DATASET");
    scene.set_open(&dataset, false);
    scene.fails(&run, &["holds 0 files", "closed"]);
    let rows = scene.rows(&run);
    assert!(!scene.is_announced(&rows), "{rows:#?}");
    shown(
        "an instalment that someone has closed half-way",
        "said, nothing announced",
    );
    scene.set_open(&dataset, true);
    scene.goes_through(&run);
    shown("the same, opened again", "goes through");
}

pub(crate) fn places(world: &World) {
    // The root's folder is taken for that of the scope, and the RSE places files by a hash.
    let server = &world.server;
    let site = TestSite::in_memory_as("SITE_A", 0x0F, "size");
    let prefix = site.folder.path().to_owned();
    let mut rse = server
        .add_rse("FAULT_PLACES", Naming::Hash, Some(&prefix))
        .unwrap();
    rse.naming = Naming::Identity;
    add_scope(server, "root");
    server.set_limit(ACCOUNT, &rse.name, None).unwrap();
    let scene = Scene {
        server,
        site: RucioSite {
            site,
            rse,
            scope: "root".to_owned(),
            deleter: "runsync",
        },
        between: Between::new(server.port()),
    };
    scene.site.configure(&scene.between.url(), "bulk = 3");
    let run = scene.run("elsewhere");
    let asked = scene.fails(&run, &["FAULT_PLACES", "file://localhost/"]);
    assert!(
        asked.iter().all(|asked| asked.starts_with("GET ")),
        "{asked:?}"
    );
    assert_eq!(scene.rows(&run), [""; 0]);
    shown(
        "an RSE that places files elsewhere",
        "says so, nothing registered at all",
    );

    let scene = Scene::new(world, "FAULT_NAMES", Naming::Hash);
    let run = scene.run("occupied");
    let name = format!("{run}/calexp/5.fits");
    let second: PathBuf = scene.site.rse.path(&scene.site.scope, &name);
    write(&second, b"another");
    scene.fails(&run, &[&name, "another file lies at"]);
    scene.is_open(&run);
    assert_eq!(fs::read(&second).unwrap(), b"another");
    shown(
        "a second name that another file has",
        "said, the file is left as it is",
    );
    fs::remove_file(&second).unwrap();
    scene.goes_through(&run);
    shown("the same, moved away", "goes through");
}

/// Rucio minds limits of whoever is no administrator, who may not register: one who loses that right in
/// between meets one.
pub(crate) fn quota(world: &World) {
    let scene = Scene::new(world, "FAULT_QUOTA", Naming::Identity);
    let asked = scene.publish(&[&scene.run("whole")]).asked;
    let number = asked.iter().position(|asked| asked == "POST /rules/");
    let number = number.unwrap() + 1;
    let run = scene.run("quota");
    let rse = &scene.site.rse.name;
    scene.server.set_limit(ACCOUNT, rse, Some(0)).unwrap();
    let server = Arc::clone(&world.server);
    let admin = format!("/accounts/{ACCOUNT}/attr/admin");
    let path = admin.clone();
    let mut publish = scene.site.site.command(&["publish", &run, "--direct"]);
    let ended = scene
        .between
        .act(&mut publish, (number, When::Before), move || {
            server.must("DELETE", &path, None).unwrap();
        });
    let right = json!({"key": "admin", "value": "True"});
    scene.server.must("POST", &admin, Some(&right)).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("quota"), "{}", ended.stderr);
    let rows = scene.rows(&run);
    let count = |word: &str| rows.iter().filter(|row| row.starts_with(word)).count();
    assert_eq!((count("replica "), count("rule ")), (8, 0), "{rows:#?}");
    let control = format!(" runsync/control/{} ", scene.site.site.repository);
    assert!(!rows.iter().any(|row| row.contains(&control)), "{rows:#?}");
    assert_ne!(scene.row(&run)["problem"], Value::Null);
    shown(
        "no quota for a rule",
        "all is registered, nothing announced, the reason kept",
    );
    scene.server.set_limit(ACCOUNT, rse, None).unwrap();
    scene.goes_through(&run);
    shown("the same, with quota", "goes through");
}

/// The server goes away in the middle, and comes back.
pub(crate) fn stopped(world: &World) {
    let scene = Scene::new(world, "FAULT_STOP", Naming::Identity);
    let run = scene.run("stopped");
    let server = Arc::clone(&world.server);
    let mut publish = scene.site.site.command(&["publish", &run, "--direct"]);
    let ended = scene
        .between
        .act(&mut publish, (12, When::Before), move || {
            server.stop_server().unwrap();
        });
    assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    assert!(ended.asked.len() > 12, "it is asked again");
    world.server.restart_server().unwrap();
    assert_ne!(scene.row(&run)["problem"], Value::Null);
    scene.goes_through(&run);
    shown(
        "the server stopped in the middle",
        &format!(
            "said after {} more tries; goes through once it is back",
            ended.asked.len() - 12
        ),
    );
}
