//! `config check --online` against a real Rucio server: each thing that can be wrong is told at the
//! key that says it, before the daemon starts, and nothing is changed there.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/daemon.rs"]
mod process;

#[path = "../support/proof.rs"]
mod proof;

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use harness::{Certificate, Naming, Part, Rucio};
use process::text;
use proof::shown;
use serde_json::Value;
use support::{TestSite, private, write};

const PASSWORD: &str = "not-so-secret";

/// The parts of a configuration, of which a case changes some.
#[derive(Clone)]
struct Parts {
    url: String,
    account: String,
    scope: String,
    rse: String,
    root: String,
    login: String,
    more: String,
    rules: String,
}

struct Scene {
    site: TestSite,
    server: Rucio,
    right: Parts,
    failures: RefCell<Vec<String>>,
}

/// What a check tells: notes where all is well, else the problems by their keys.
enum Told {
    Well(Vec<String>),
    Problems(Vec<(String, String, String)>),
}

impl Scene {
    fn new() -> Self {
        let server = Rucio::start(&[Part::Tls, Part::Issuer]).unwrap();
        let site = TestSite::new("size");
        let folder = site.folder.path().to_owned();
        server
            .add_rse("SITE_A", Naming::Identity, Some(&folder))
            .unwrap();
        server
            .add_rse("SITE_A_USERDISK", Naming::Identity, Some(&folder))
            .unwrap();
        server.add_rse("SITE_B", Naming::Identity, None).unwrap();
        server.add_rse("SITE_H", Naming::Hash, None).unwrap();
        server
            .add_rse("SITE_N", Naming::NonDeterministic, None)
            .unwrap();
        for (account, admin) in [("runsync", true), ("plain", false), ("other", true)] {
            let login = (account, PASSWORD);
            server.add_account(account, login, admin).unwrap();
        }
        server.add_scope("runsync", "root").unwrap();
        for rse in ["SITE_A", "SITE_H"] {
            server.set_limit("runsync", rse, None).unwrap();
        }
        server.add_scope("plain", "plain").unwrap();
        let scene = Self {
            right: Parts {
                url: server.url(),
                account: "runsync".into(),
                scope: "root".into(),
                rse: "SITE_A".into(),
                root: String::new(),
                login: userpass("runsync"),
                more: String::new(),
                rules: String::new(),
            },
            site,
            server,
            failures: RefCell::default(),
        };
        scene.secret("keys/rucio.password", PASSWORD);
        scene
    }

    fn secret(&self, name: &str, value: &str) {
        let file = self.site.folder.path().join(name);
        write(&file, value.as_bytes());
        private(&file);
    }

    fn check(&self, parts: &Parts) -> Told {
        let Parts {
            url,
            account,
            scope,
            rse,
            root,
            login,
            more,
            rules,
        } = parts;
        self.site.configure(
            "size",
            &format!(
                "rse = \"{rse}\"\n{root}\n[rucio]\nurl = \"{url}\"\naccount = \"{account}\"\n\
                 scope = \"{scope}\"\nconnect_timeout = \"2s\"\n{more}\n{login}\n{rules}"
            ),
        );
        let output = self
            .site
            .run_command(&["config", "check", "--online", "--json"]);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(!format!("{out}{err}").contains(PASSWORD), "{out}{err}");
        if output.status.success() {
            let told: Value = serde_json::from_str(&out).unwrap();
            let notes = told["notes"].as_array().unwrap().iter();
            return Told::Well(
                notes
                    .map(|note| note.as_str().unwrap().to_owned())
                    .collect(),
            );
        }
        assert_eq!(output.status.code(), Some(78), "{out}{err}");
        let told: Value = serde_json::from_str(&err).unwrap();
        let problems = told["error"]["problems"].as_array().unwrap().iter();
        let part =
            |problem: &Value, name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        let problems = problems.map(|problem| {
            (
                part(problem, "key"),
                part(problem, "reason"),
                part(problem, "hint"),
            )
        });
        Told::Problems(problems.collect())
    }

    /// The right configuration, changed.
    fn with(&self, change: impl FnOnce(&mut Parts)) -> Told {
        let mut parts = self.right.clone();
        change(&mut parts);
        self.check(&parts)
    }

    /// A case that must be told at these keys, in these words, each with a hint.
    fn wrong(&self, case: &str, expected: &[(&str, &str)], change: impl FnOnce(&mut Parts)) {
        let Told::Problems(problems) = self.with(change) else {
            return self.fail(format!("{case}: nothing is told"));
        };
        let keys: Vec<&str> = problems.iter().map(|(key, ..)| key.as_str()).collect();
        let expected_keys: Vec<&str> = expected.iter().map(|(key, _)| *key).collect();
        let told = |((_, reason, hint), (_, words)): (&(String, String, String), &(&str, &str))| {
            reason.contains(words) && !hint.is_empty()
        };
        if keys != expected_keys || !problems.iter().zip(expected).all(told) {
            return self.fail(format!("{case}: {problems:#?}"));
        }
        shown(case, &format!("{}: {}", problems[0].0, expected[0].1));
    }

    fn well(&self, case: &str, change: impl FnOnce(&mut Parts)) -> Vec<String> {
        match self.with(change) {
            Told::Well(notes) => {
                shown(case, "nothing is wrong");
                notes
            }
            Told::Problems(problems) => {
                self.fail(format!("{case}: {problems:#?}"));
                Vec::new()
            }
        }
    }

    /// As an account that is no administrator's: it may publish in its own scope, at an RSE that the
    /// generic policy opens to all.
    fn as_user(&self, parts: &mut Parts) {
        parts.account = "plain".into();
        parts.login = userpass("plain");
        parts.scope = "plain".into();
        parts.rse = "SITE_A_USERDISK".into();
        let folder = self.site.folder.path().join("plain");
        parts.root = format!("pfn_prefix = \"file://localhost{}/\"", folder.display());
    }

    /// The login by a client certificate, whose key becomes the site's own.
    fn x509(&self, of: &Certificate) -> String {
        let key = std::fs::read_to_string(&of.key).unwrap();
        self.secret("keys/rucio.key", &key);
        format!(
            "[rucio.x509]\ncertificate_file = \"{}\"\nprivate_key_file = \"keys/rucio.key\"",
            of.certificate.display()
        )
    }

    /// Keeps a failure until all cases were gone through.
    fn fail(&self, what: String) {
        self.failures.borrow_mut().push(what);
    }

    /// What Rucio holds that a check might have changed.
    fn held(&self) -> Vec<Vec<String>> {
        let tables = [
            "dids", "contents", "replicas", "rules", "scopes", "accounts",
        ];
        let count = |table| {
            self.server
                .sql(&format!("select count(*) from dev.{table}"))
        };
        tables
            .iter()
            .flat_map(|table| count(table).unwrap())
            .collect()
    }
}

fn userpass(user: &str) -> String {
    format!("[rucio.userpass]\nusername = \"{user}\"\npassword_file = \"keys/rucio.password\"")
}

fn rule(expression: &str, copies: u32) -> String {
    format!("[[rucio.rule]]\nrse_expression = \"{expression}\"\ncopies = {copies}")
}

#[test]
fn whatever_is_wrong_is_told_where_it_is_said_and_nothing_is_changed() {
    let scene = Scene::new();
    let before = scene.held();
    logins(&scene);
    names_and_places(&scene);
    permissions_and_quota(&scene);
    hosts(&scene);
    certificates_and_tokens(&scene);
    assert!(
        scene.failures.borrow().is_empty(),
        "{}",
        scene.failures.borrow().join("\n")
    );
    assert_eq!(scene.held(), before);
    shown("all of it", "Rucio holds what it held");
}

fn logins(scene: &Scene) {
    let notes = scene.well("a right configuration", |_| ());
    let told = |note: &String| note.contains("Rucio 41.") && note.contains("`runsync`");
    assert!(notes.iter().any(told), "{notes:?}");
    scene.secret("keys/wrong.password", "wrong");
    scene.wrong(
        "wrong password",
        &[("rucio.userpass", "Cannot authenticate to account runsync")],
        |parts| parts.login = parts.login.replace("rucio.password", "wrong.password"),
    );
    scene.wrong(
        "wrong user",
        &[("rucio.userpass", "Cannot authenticate")],
        |parts| parts.login = userpass("nobody"),
    );
    scene.wrong(
        "another's account",
        &[("rucio.account", "not one of account `other`")],
        |parts| parts.account = "other".into(),
    );
    scene.wrong(
        "an account that is not there",
        &[("rucio.account", "not one of account `nobody`")],
        |parts| parts.account = "nobody".into(),
    );
    scene.wrong(
        "a password file that is not there",
        &[(
            "rucio.userpass.password_file",
            "cannot read the secret file",
        )],
        |parts| parts.login = parts.login.replace("rucio.password", "missing.password"),
    );
    let open = scene.site.folder.path().join("keys/open.password");
    write(&open, PASSWORD.as_bytes());
    scene.wrong(
        "a password file that is open to others",
        &[("rucio.userpass.password_file", "is open to others")],
        |parts| parts.login = parts.login.replace("rucio.password", "open.password"),
    );
}

fn names_and_places(scene: &Scene) {
    scene.wrong(
        "an RSE that is not there",
        &[("root[0].rse", "there is no RSE `SITE_X`")],
        |parts| parts.rse = "SITE_X".into(),
    );
    scene.wrong(
        "a scope that is not there",
        &[
            ("root[0].rse", "/nowhere/u/check/artifact, and root `main`"),
            ("rucio.scope", "there is no scope `nowhere`"),
        ],
        |parts| parts.scope = "nowhere".into(),
    );
    scene.wrong(
        "names outside the schema, and nothing is sent",
        &[
            ("root[0].rse", "is not made of upper-case letters"),
            ("rucio.account", "holds 'R'"),
            ("rucio.scope", "has 26 characters"),
        ],
        |parts| {
            parts.url = "http://127.0.0.1:1".into();
            parts.account = "Runsync".into();
            parts.scope = "s".repeat(26);
            parts.rse = "site_a".into();
        },
    );
    scene.wrong(
        "an RSE that places files elsewhere",
        &[("root[0].rse", "RSE `SITE_H` has `root:u/check/artifact` at")],
        |parts| parts.rse = "SITE_H".into(),
    );
    scene.wrong(
        "a root outside an RSE that is not deterministic",
        &[("root[0].rse", "its files lie in")],
        |parts| parts.rse = "SITE_N".into(),
    );
    scene.wrong(
        "a prefix of PFNs that is another's",
        &[("root[0].rse", "has it at davs://elsewhere/u/check/artifact")],
        |parts| parts.root = "pfn_prefix = \"davs://elsewhere/\"".into(),
    );
}

fn permissions_and_quota(scene: &Scene) {
    scene.wrong(
        "an account that may not publish",
        &[
            ("root[0].rse", "has no quota for account `plain`"),
            ("rucio.account", "may not make Rucio datasets"),
            ("rucio.account", "may not attach"),
            ("rucio.account", "may not register replicas"),
        ],
        |parts| {
            parts.account = "plain".into();
            parts.login = userpass("plain");
        },
    );
    let notes = scene.well("an administrators' account without quota", |parts| {
        parts.account = "other".into();
        parts.login = userpass("other");
    });
    assert!(
        notes.iter().any(|note| note.contains("needs none")),
        "{notes:?}"
    );
    scene.wrong(
        "a policy of declaring bad, which the account may not",
        &[(
            "rucio.sync.declare",
            "may not declare replicas at SITE_A bad",
        )],
        |parts| parts.rules = "[rucio.sync]\ndeclare = \"bad\"".into(),
    );
    scene.well("a policy of declaring suspicious", |parts| {
        parts.rules = "[rucio.sync]\ndeclare = \"suspicious\"".into();
    });
    scene.wrong(
        "no quota at its own RSE",
        &[(
            "root[0].rse",
            "has no quota for account `plain`: `SITE_A_USERDISK` (none)",
        )],
        |parts| scene.as_user(parts),
    );
    let limit = |bytes| scene.server.set_limit("plain", "SITE_A_USERDISK", bytes);
    limit(Some(0)).unwrap();
    scene.wrong(
        "quota that is used up",
        &[("root[0].rse", "`SITE_A_USERDISK` (used up)")],
        |parts| scene.as_user(parts),
    );
    limit(None).unwrap();
    scene.well(
        "an account without the attribute `admin`, with quota",
        |parts| {
            scene.as_user(parts);
        },
    );
    scene.wrong(
        "no quota where a rule puts copies",
        &[("rucio.rule[0].rse_expression", "`SITE_B` (none)")],
        |parts| {
            scene.as_user(parts);
            parts.rules = rule("SITE_B", 1);
        },
    );
    scene.well("quota at one of two RSEs, and one copy", |parts| {
        scene.as_user(parts);
        parts.rules = rule("SITE_B|SITE_A_USERDISK", 1);
    });
    scene.wrong(
        "no quota for manifests at a site that takes part",
        &[("rucio.publish.control_rses", "`SITE_B` (none)")],
        |parts| {
            scene.as_user(parts);
            let rses = "SITE_A_USERDISK|SITE_B";
            parts.rules = format!("[rucio.publish]\ncontrol_rses = \"{rses}\"");
        },
    );
    scene.wrong(
        "a rule that means no RSE",
        &[("rucio.rule[0].rse_expression", "means no RSE: `tier=9`")],
        |parts| parts.rules = rule("tier=9", 1),
    );
    scene.wrong(
        "more copies than RSEs",
        &[(
            "rucio.rule[0].copies",
            "is 3, and `SITE_A|SITE_H` means 2 RSEs",
        )],
        |parts| parts.rules = rule("SITE_A|SITE_H", 3),
    );
    scene.wrong(
        "a rule that is no expression",
        &[("rucio.rule[0].rse_expression", "InvalidRSEExpression")],
        |parts| parts.rules = rule("((", 1),
    );
}

fn hosts(scene: &Scene) {
    scene.wrong(
        "a host that is not there",
        &[("rucio.url", "cannot reach Rucio at https://nowhere.invalid")],
        |parts| parts.url = "https://nowhere.invalid".into(),
    );
    // Bound and dropped: nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    scene.wrong(
        "a port at which nobody listens",
        &[("rucio.url", "cannot reach Rucio")],
        |parts| parts.url = format!("http://{closed}"),
    );
    let tls = scene.server.tls_url().unwrap();
    scene.wrong(
        "an authority that this machine does not know",
        &[("rucio.url", "cannot make a trusted connection")],
        |parts| parts.url.clone_from(&tls),
    );
    let plain = scene.server.url().replace("http://", "https://");
    scene.wrong(
        "TLS at a server without it",
        &[("rucio.url", "cannot make a trusted connection")],
        |parts| parts.url = plain,
    );
    let website = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = website.local_addr().unwrap();
    let answering = thread::spawn(move || {
        let (mut stream, _) = website.accept().unwrap();
        assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
        let page = "<!doctype html>";
        let head = "HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{page}", page.len());
        stream.write_all(answer.as_bytes()).unwrap();
    });
    scene.wrong(
        "a server that is no Rucio",
        &[("rucio.url", "cannot understand the answer to `GET /ping`")],
        |parts| parts.url = format!("http://{at}"),
    );
    answering.join().unwrap();
}

fn certificates_and_tokens(scene: &Scene) {
    let server = &scene.server;
    let tls = server.tls_url().unwrap();
    let authority = format!("ca_file = \"{}\"", server.authority().unwrap().display());
    let known = server.certificate("known").unwrap();
    server.add_certificate("runsync", &known).unwrap();
    let stranger = server.certificate("stranger").unwrap();
    let over_tls = |parts: &mut Parts| {
        parts.url.clone_from(&tls);
        parts.more.clone_from(&authority);
    };
    scene.well("a client certificate", |parts| {
        over_tls(parts);
        parts.login = scene.x509(&known);
    });
    scene.wrong(
        "a client certificate of nobody",
        &[("rucio.x509", "Cannot authenticate")],
        |parts| {
            over_tls(parts);
            parts.login = scene.x509(&stranger);
        },
    );
    scene.wrong(
        "authorities that are no certificates",
        &[("rucio.ca_file", "cannot use")],
        |parts| {
            parts.url.clone_from(&tls);
            parts.more = "ca_file = \"site.toml\"".into();
        },
    );
    server.add_token_subject("runsync", "runsync").unwrap();
    let token = "[rucio.token]\nfile = \"keys/rucio.token\"";
    scene.secret(
        "keys/rucio.token",
        &server.issue_token("runsync", 600).unwrap(),
    );
    scene.well("a token", |parts| parts.login = token.into());
    scene.secret(
        "keys/rucio.token",
        &server.issue_token("runsync", -600).unwrap(),
    );
    scene.wrong(
        "a token that has expired",
        &[("rucio.token", "has expired")],
        |parts| parts.login = token.into(),
    );
    scene.secret(
        "keys/rucio.token",
        &server.issue_token("stranger", 600).unwrap(),
    );
    scene.wrong(
        "a token of nobody",
        &[("rucio.token", "does not accept the token")],
        |parts| parts.login = token.into(),
    );
    scene.secret("keys/rucio.token", "");
    scene.wrong(
        "an empty token file",
        &[("rucio.token", "holds no token")],
        |parts| parts.login = token.into(),
    );
}
