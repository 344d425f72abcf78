//! A site that holds a copy, whose files Rucio deletes.

use std::fs;

use harness::Naming;
use runsync_config::key_file::PublicKeyFile;

use crate::World;
use crate::pair::{carry_manifests, peer};
use crate::proof::shown;
use crate::rucio::RucioSite;
use crate::site::{
    FILES, announce, endings, files, journals, publish, reap, replicas, resume, rules, transfer,
};
use crate::support::write;

/// Two sites in one scope, the second of which gets what the first publishes.
struct Two {
    a: RucioSite,
    b: RucioSite,
}

impl Two {
    fn new(world: &World, name: &str) -> Self {
        let (at_a, at_b) = (format!("{name}_A"), format!("{name}_B"));
        let to_b = format!("[rucio.publish]\ncontrol_rses = \"{at_b}\"\n");
        let a = RucioSite::named(
            &world.server,
            "SITE_A",
            (&at_a, Naming::Identity),
            "rucio",
            "",
        );
        let b = RucioSite::named(
            &world.server,
            "SITE_B",
            (&at_b, Naming::Identity),
            "rucio",
            &peer(&a.site, "apply"),
        );
        a.configure(&world.server.url(), &to_b);
        let key = PublicKeyFile {
            site: "SITE_A".parse().unwrap(),
            repository: a.site.repository,
            public_key: a.site.key.public(),
            revoked: false,
        };
        let file = format!("keys/trusted/{}.json", key.public_key.id());
        let file = b.site.folder.path().join(file);
        write(&file, &serde_json::to_vec(&key).unwrap());
        Self { a, b }
    }

    /// Has the second site hold a run, by a rule of an account.
    fn carry(&self, world: &World, run: &str) -> String {
        publish(&self.a, run);
        let rule = world
            .server
            .add_rule(&self.a.scope, run, 1, &self.b.rse.name)
            .unwrap();
        transfer(&world.server);
        self.ingest(run, "1-1");
        rule
    }

    fn ingest(&self, run: &str, generation: &str) {
        carry_manifests(&self.a.site, &self.b.site);
        let folder = format!("runsync/manifests/{}/{run}", self.a.site.repository);
        let path = self.b.site.root().join(folder);
        let path = path.join(format!("{generation}.manifest.jsonl"));
        self.b.ingest(&[path]);
    }
}

/// An applied removal hides, and leaves the files to Rucio.
pub(crate) fn follows(world: &World) {
    let server = &world.server;
    let two = Two::new(world, "REM_FOLLOW");
    let run = "u/copied/followed";
    let rule = two.carry(world, run);
    assert_eq!(files(&two.b, run).len(), FILES as usize);
    two.a.site.directly(&["remove-runs", run, "--yes"]);
    announce(&two.a, run);
    two.ingest(run, "1-2");
    let asked = two.b.site.directly(&["removal", "list", "--json"]);
    let asked: serde_json::Value = serde_json::from_str(asked.lines().next().unwrap()).unwrap();
    let manifest = asked["manifest"].as_str().unwrap().to_owned();
    let said = two
        .b
        .site
        .directly(&["removal", "confirm", &manifest, "--yes"]);
    assert!(said.contains("partially removed"), "{said}");
    assert_eq!(files(&two.b, run).len(), FILES as usize);
    shown(
        "an applied removal at a copy site",
        "hidden, and nothing that Rucio has is unlinked",
    );

    transfer(server);
    server.end_rule(&rule).unwrap();
    endings(&two.a);
    reap(server);
    assert_eq!(files(&two.b, run), [""; 0]);
    resume(&two.b);
    assert_eq!(journals(&two.b).len(), 0);
    assert_eq!(replicas(server, run), [""; 0]);
    shown("its rules end", "so does the removal at the copy site");
}

/// What is unstored is left to Rucio, and comes back by a rule of the site's own.
pub(crate) fn unstores(world: &World) {
    let server = &world.server;
    let two = Two::new(world, "REM_UNSTORE");
    let run = "u/copied/unstored";
    let rule = two.carry(world, run);
    server.end_rule(&rule).unwrap();
    // The site's own rule keeps it from now on.
    let at_b = two.b.rse.name.as_str();
    assert!(
        two.b
            .fails(&["unstore", run, "--yes", "--dataset-type", "calexp"])
            .contains("as a whole")
    );
    two.b.site.directly(&["restore", run]);
    server.step(&[harness::Daemon::Clean]).unwrap();
    let ours = format!("runsync {at_b} f");
    assert!(
        rules(server, run).contains(&ours),
        "{:?}",
        rules(server, run)
    );
    let plan = two.b.site.directly(&["unstore", run, "--dry-run"]);
    assert_eq!(plan.matches("  ends: rule ").count(), 1, "{plan}");
    two.b.site.directly(&["unstore", run, "--yes"]);
    assert_eq!(files(&two.b, run).len(), FILES as usize);
    let kept = format!("runsync {} f", two.a.rse.name);
    assert!(
        rules(server, run).contains(&kept),
        "that of the origin stays"
    );
    let said = two.b.fails(&["restore", run]);
    assert!(said.contains("is being removed"), "{said}");
    reap(server);
    resume(&two.b);
    assert_eq!(endings(&two.b).len(), 0);
    assert_eq!((files(&two.b, run).len(), journals(&two.b).len()), (0, 0));
    assert_eq!(files(&two.a, run).len(), FILES as usize);
    shown(
        "`unstore` at a copy site",
        "its own rule ends, that of the origin stays; Rucio deletes",
    );

    two.b.site.directly(&["restore", run]);
    assert!(rules(server, run).contains(&ours));
    transfer(server);
    assert_eq!(files(&two.b, run).len(), FILES as usize);
    assert!(fs::exists(two.b.site.root().join(format!("{run}/calexp/0.fits"))).unwrap());
    shown(
        "`restore`",
        "a rule for the site's own RSE has Rucio carry it again",
    );
}
