//! Where Rucio is, who this site is to it, and what is published there.
//!
//! The section may be missing: a site without Rucio is whole. Every secret is a file, read when it is
//! needed, so that one that was renewed is used without a restart.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use runsync_manifest::name::{RunName, RunPrefix, Scope};
use serde::{Serialize, Serializer};
use toml::de::DeValue;

use crate::duration;
use crate::problem::Reason;
use crate::raw::Section;
pub use crate::schedule::Schedule;
pub use crate::sync::{Declare, Sync};
use crate::value::{Value, text, word};

/// Most items of one bulk call: `maxItems` of Rucio's own schema (`rucio/common/schema/generic.py`).
pub const BULK_MAX: usize = 1000;
/// A bulk call of 1,000 files takes Rucio some 10 s, and many times that under load.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A daemon that is to stop waits no longer than 75 s for what it is at, and its watchdog takes a thread
/// that shows no sign of life for 120 s for one that hangs.
const TIMEOUT_MAX: Duration = Duration::from_secs(70);
/// An address that does not answer within this is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the daemon looks for runs to publish where nothing wakes it.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(60);

/// Rucio, as this site knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rucio {
    /// The server's URL, without a slash at its end.
    pub url: ServerUrl,
    /// The URL that tokens come from; the same unless configured.
    pub auth_url: ServerUrl,
    /// The account that this site acts as.
    pub account: String,
    /// The virtual organisation, where the server has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vo: Option<String>,
    /// The scope of the files that this site publishes.
    pub scope: Scope,
    /// Which names the server's policy allows.
    pub schema: NameSchema,
    /// PEM file of the authorities that vouch for the server, beside those of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Most items of one bulk call, at most [`BULK_MAX`].
    pub bulk: usize,
    /// How long the server may take to answer, and to go on with an answer.
    #[serde(serialize_with = "duration::serialize")]
    pub timeout: Duration,
    /// How long connecting may take.
    #[serde(serialize_with = "duration::serialize")]
    pub connect_timeout: Duration,
    /// How this site shows who it is.
    #[serde(flatten)]
    pub login: Login,
    /// What is published.
    pub publish: Publish,
    /// When Rucio is asked what should be here.
    pub sync: Sync,
    /// The rules of published runs.
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

/// An `http` or `https` URL without path, query, user or password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ServerUrl(String);

impl ServerUrl {
    /// The URL, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent there is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it names this machine's loopback, where nobody listens in.
    fn is_loopback(&self) -> bool {
        let host = self.0.split("://").nth(1).unwrap_or_default();
        let (name, port) = host.rsplit_once(':').unwrap_or((host, "0"));
        let is_port = port.parse::<u16>().is_ok();
        let name = if is_port { name } else { host };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<std::net::IpAddr>();
        name == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Value for ServerUrl {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let hint = "it is a scheme, a host and a port, such as \"https://rucio.example.org:443\"";
        let url = text(value, "a URL").map_err(|reason| reason.hint(hint))?;
        let url = url.strip_suffix('/').unwrap_or(url);
        let host = ["https://", "http://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme))
            .ok_or_else(|| Reason::new("is no `http://` or `https://` URL").hint(hint))?;
        let strange = |c: char| c.is_control() || c.is_whitespace() || "/@?#\\".contains(c);
        if host.is_empty() || host.contains(strange) {
            return Err(Reason::new("holds what does not belong there").hint(hint));
        }
        Ok(Self(url.to_owned()))
    }
}

/// How a site shows Rucio who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Login {
    /// By a user's name and password.
    Userpass {
        /// The user of the identity.
        username: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
    /// By an X.509 client certificate.
    X509 {
        /// PEM file of the certificate and those that vouch for it.
        certificate_file: PathBuf,
        /// PEM file of its private key.
        private_key_file: PathBuf,
    },
    /// By a token that something else puts into a file and renews there, such as an OIDC agent.
    Token {
        /// The file.
        file: PathBuf,
    },
}

impl Login {
    /// The file that holds its secret, and the table and key that name it.
    pub fn secret(&self) -> (&'static str, &'static str, &Path) {
        match self {
            Self::Userpass { password_file, .. } => ("userpass", "password_file", password_file),
            Self::X509 {
                private_key_file, ..
            } => ("x509", "private_key_file", private_key_file),
            Self::Token { file } => ("token", "file", file),
        }
    }
}

/// Which names a server's policy package allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NameSchema {
    /// Rucio's own.
    Generic,
    /// That of the Rubin Observatory.
    Rubin,
}

impl Value for NameSchema {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(value, &[("generic", Self::Generic), ("rubin", Self::Rubin)])
    }
}

/// `[rucio.publish]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Publish {
    /// Which of this site's runs are published.
    pub runs: PublishPolicy,
    /// RSE expression of the sites that get this site's manifests; none: this site's own RSE only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_rses: Option<String>,
    /// How often the daemon looks for runs to publish.
    #[serde(serialize_with = "duration::serialize")]
    pub interval: Duration,
}

/// Which of a site's own runs are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishPolicy {
    /// Those that an operator names.
    Ordered,
    /// Each, as soon as all of its artifacts are confirmed.
    Confirmed,
}

impl Value for PublishPolicy {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        word(
            value,
            &[("ordered", Self::Ordered), ("confirmed", Self::Confirmed)],
        )
    }
}

/// `[[rucio.rule]]`: a replication rule that published runs get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The runs that get it; empty: all.
    pub run_prefixes: Vec<RunPrefix>,
    /// Where the copies go.
    pub rse_expression: String,
    /// How many copies.
    pub copies: u32,
    /// How long the rule lasts; none: until it is ended.
    #[serde(
        serialize_with = "serialize_lifetime",
        skip_serializing_if = "Option::is_none"
    )]
    pub lifetime: Option<Duration>,
    /// Rucio's activity; none: the server's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// What Rucio sends messages about.
    pub notify: Notify,
}

impl Rule {
    /// Whether a run gets it.
    pub fn is_for(&self, run: &RunName) -> bool {
        self.run_prefixes.is_empty() || self.run_prefixes.iter().any(|prefix| prefix.owns(run))
    }
}

/// What Rucio sends messages about a rule for: `notification` in its REST interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Notify {
    /// Nothing.
    No,
    /// The rule and its Rucio datasets are satisfied.
    Yes,
    /// The same, for closed Rucio datasets only.
    Close,
    /// Each step of progress, too.
    Progress,
}

impl Notify {
    /// Rucio's letter for it.
    pub fn letter(self) -> &'static str {
        match self {
            Self::No => "N",
            Self::Yes => "Y",
            Self::Close => "C",
            Self::Progress => "P",
        }
    }
}

impl Value for Notify {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let words = [
            ("no", Self::No),
            ("yes", Self::Yes),
            ("close", Self::Close),
            ("progress", Self::Progress),
        ];
        word(value, &words)
    }
}

impl Rucio {
    /// Reads `[rucio]`; paths are relative to `base`. `None` where a problem was reported.
    pub(crate) fn read(mut section: Section<'_, '_>, base: &Path) -> Option<Self> {
        let url: Option<ServerUrl> = section.required("url", "\"https://rucio.example.org\"");
        let auth_url = section.optional("auth_url").or_else(|| url.clone());
        let account = section.required("account", "\"runsync\"");
        let vo = section.optional("vo");
        let scope = section.required("scope", "\"hsc\"");
        let schema = section.or("schema", NameSchema::Generic);
        let ca_file: Option<PathBuf> = section.optional("ca_file");
        let bulk = section.or("bulk", BULK_MAX);
        if !(1..=BULK_MAX).contains(&bulk) {
            section.report("bulk", format!("must be from 1 to {BULK_MAX}"));
        }
        let timeout = section.or("timeout", TIMEOUT);
        if timeout > TIMEOUT_MAX {
            let reason = Reason::new(format!("must be at most {} s", TIMEOUT_MAX.as_secs()));
            section.report(
                "timeout",
                reason.hint("lower `bulk` where the server is slow"),
            );
        }
        let connect_timeout = section.or("connect_timeout", CONNECT_TIMEOUT);
        let login = read_login(&mut section, base);
        let publish = Publish::read(section.section("publish"));
        let sync = Sync::read(section.section("sync"));
        let rules: Option<Vec<_>> = section
            .sections("rule")
            .into_iter()
            .map(Rule::read)
            .collect();
        for (key, url) in [("url", &url), ("auth_url", &auth_url)] {
            if let Some(url) = url
                && !url.is_encrypted()
                && !url.is_loopback()
            {
                let reason = Reason::new("would send secrets unencrypted to another machine");
                section.report(key, reason.hint("name an `https://` URL"));
            }
        }
        section.finish();
        Some(Self {
            url: url?,
            auth_url: auth_url?,
            account: account?,
            vo,
            scope: scope?,
            schema,
            ca_file: ca_file.map(|file| base.join(file)),
            bulk,
            timeout,
            connect_timeout,
            login: login?,
            publish,
            sync,
            rules: rules?,
        })
    }
}

/// Reads the table of one way to log in.
type ReadWay = fn(&mut Section<'_, '_>, &Path) -> Option<Login>;

/// The ways to log in, by the name of their table.
const WAYS: [(&str, ReadWay); 3] = [
    ("userpass", read_userpass),
    ("x509", read_x509),
    ("token", read_token),
];

/// The one way to log in that is configured.
fn read_login(section: &mut Section<'_, '_>, base: &Path) -> Option<Login> {
    let ways = WAYS.map(|(name, read)| (section.has(name), name, read));
    let mut ways = ways.into_iter().filter(|(is_there, ..)| *is_there);
    let Some((_, name, read)) = ways.next() else {
        let hint = "add one of `[rucio.userpass]` (`username`, `password_file`), `[rucio.x509]` \
                    (`certificate_file`, `private_key_file`) and `[rucio.token]` (`file`)";
        section.report_here(Reason::new("does not say how to log in").hint(hint));
        return None;
    };
    if let Some((_, second, _)) = ways.next() {
        let reason = Reason::new("is a second way to log in");
        section.report(second, reason.hint("keep one"));
        return None;
    }
    let mut way = section.section(name);
    let login = read(&mut way, base);
    way.finish();
    login
}

fn read_userpass(way: &mut Section<'_, '_>, base: &Path) -> Option<Login> {
    let username = way.required("username", "\"runsync\"");
    let file: Option<PathBuf> = way.required("password_file", "\"keys/rucio.password\"");
    Some(Login::Userpass {
        username: username?,
        password_file: base.join(file?),
    })
}

fn read_x509(way: &mut Section<'_, '_>, base: &Path) -> Option<Login> {
    let certificate: Option<PathBuf> = way.required("certificate_file", "\"keys/hostcert.pem\"");
    let key: Option<PathBuf> = way.required("private_key_file", "\"keys/hostkey.pem\"");
    Some(Login::X509 {
        certificate_file: base.join(certificate?),
        private_key_file: base.join(key?),
    })
}

fn read_token(way: &mut Section<'_, '_>, base: &Path) -> Option<Login> {
    let file: Option<PathBuf> = way.required("file", "\"keys/rucio.token\"");
    Some(Login::Token {
        file: base.join(file?),
    })
}

impl Publish {
    fn read(mut section: Section<'_, '_>) -> Self {
        let publish = Self {
            runs: section.or("runs", PublishPolicy::Ordered),
            control_rses: section.optional("control_rses"),
            interval: section.or("interval", PUBLISH_INTERVAL),
        };
        section.finish();
        publish
    }
}

impl Rule {
    fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let run_prefixes = section.list("run_prefixes");
        let rse_expression = section.required("rse_expression", "\"SITE_B_DISK\"");
        let copies = section.or("copies", 1);
        if copies == 0 {
            section.report("copies", "must be at least 1");
        }
        let lifetime = section.optional("lifetime");
        let activity = section.optional("activity");
        let notify = section.or("notify", Notify::Yes);
        section.finish();
        Some(Self {
            run_prefixes,
            rse_expression: rse_expression?,
            copies,
            lifetime,
            activity,
            notify,
        })
    }
}

#[expect(clippy::ref_option, reason = "what serde calls it with")]
fn serialize_lifetime<S: Serializer>(
    lifetime: &Option<Duration>,
    to: S,
) -> Result<S::Ok, S::Error> {
    match lifetime {
        Some(lifetime) => duration::serialize(lifetime, to),
        None => to.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use crate::load::parse;
    use crate::problem::Problem;
    use crate::site::Site;

    use super::*;

    fn read(rucio: &str) -> Result<Site, Vec<Problem>> {
        let site = format!(
            "site = {{ name = 'A' }}
            root = [{{ name = 'main', url = 'file:///data', rse = 'A_DISK' }}]
            {rucio}"
        );
        parse(Path::new("/etc/runsync/site.toml"), &site)
    }

    const RUCIO: &str =
        "[rucio]\nurl = 'https://rucio.example.org/'\naccount = 'runsync'\nscope = 'hsc'\n";

    fn problem(rucio: &str) -> String {
        let problems = read(rucio).unwrap_err();
        let [problem] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        format!("{} {}", problem.key, problem.reason)
    }

    #[test]
    fn a_site_may_be_without_rucio() {
        assert_eq!(read("").unwrap().rucio, None);
    }

    #[test]
    fn secrets_are_files_beside_the_configuration() {
        let rucio = read(&format!(
            "{RUCIO}[rucio.userpass]\nusername = 'u'\npassword_file = 'keys/p'\n"
        ));
        let rucio = rucio.unwrap().rucio.unwrap();
        assert_eq!(rucio.url.as_str(), "https://rucio.example.org");
        assert_eq!(rucio.auth_url, rucio.url);
        assert_eq!(
            rucio.login,
            Login::Userpass {
                username: "u".to_owned(),
                password_file: "/etc/runsync/keys/p".into()
            }
        );
    }

    #[test]
    fn there_is_one_way_to_log_in() {
        assert!(problem(RUCIO).starts_with("rucio does not say how to log in"));
        let two = format!(
            "{RUCIO}[rucio.token]\nfile = 't'\n[rucio.x509]\ncertificate_file = 'c'\nprivate_key_file = 'k'\n"
        );
        assert_eq!(problem(&two), "rucio.token is a second way to log in");
    }

    #[test]
    fn secrets_are_not_sent_unencrypted_to_other_machines() {
        let token = "[rucio.token]\nfile = 't'\n";
        let open = RUCIO.replace("https://", "http://");
        let problems = read(&format!("{open}{token}")).unwrap_err();
        assert!(
            problems
                .iter()
                .all(|problem| problem.reason.contains("unencrypted"))
        );
        for host in ["127.0.0.1:8443", "localhost", "localhost:80", "[::1]:80"] {
            let here = open.replace("rucio.example.org/", host);
            read(&format!("{here}{token}")).unwrap();
        }
        for host in [
            "localhost.example.org",
            "127.example.org:80",
            "127.0.0.1.example.org",
        ] {
            let elsewhere = open.replace("rucio.example.org/", host);
            assert!(read(&format!("{elsewhere}{token}")).is_err(), "{host}");
        }
    }

    #[test]
    fn a_rule_is_for_the_runs_below_its_prefixes() {
        let site = read(&format!(
            "{RUCIO}[rucio.token]\nfile = 't'\n[[rucio.rule]]\nrse_expression = 'B'\nrun_prefixes = ['u/a']\nlifetime = '30days'\n"
        ));
        let rucio = site.unwrap().rucio.unwrap();
        let rule = rucio.rules.first().unwrap();
        assert!(rule.is_for(&"u/a/1".parse().unwrap()) && !rule.is_for(&"u/ab".parse().unwrap()));
        assert_eq!((rule.copies, rule.notify), (1, Notify::Yes));
    }

    #[test]
    fn wrong_values_are_told() {
        let token = "[rucio.token]\nfile = 't'\n";
        let site = format!("{RUCIO}bulk = 1001\n{token}");
        assert_eq!(problem(&site), "rucio.bulk must be from 1 to 1000");
        for url in [
            "rucio.example.org",
            "ftp://x",
            "https://",
            "https://u:p@x",
            "https://x/rucio",
        ] {
            let site = RUCIO.replace("https://rucio.example.org/", url);
            assert!(read(&format!("{site}{token}")).is_err(), "{url}");
        }
    }
}
