//! Peers: other sites' repositories, their keys and the runs they may own.

use runsync_manifest::name::{RepositoryId, RunPrefix, Scope, SiteName};
use runsync_manifest::signature::PublicKey;
use serde::Serialize;
use toml::de::DeValue;

use crate::problem::Reason;
use crate::raw::Section;
use crate::value::{Value, text};

/// What is done when a peer has removed runs, or datasets of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovalPolicy {
    /// They are removed here too, but for what is larger than a removal may be without approval.
    #[default]
    Apply,
    /// An operator is asked.
    Confirm,
    /// They stay, and it is listed.
    Report,
}

impl RemovalPolicy {
    const WORDS: [(&'static str, Self); 3] = [
        ("apply", Self::Apply),
        ("confirm", Self::Confirm),
        ("report", Self::Report),
    ];
}

impl Value for RemovalPolicy {
    fn read(value: &DeValue<'_>) -> Result<Self, Reason> {
        let text = text(value, "a policy")?;
        let found = Self::WORDS.into_iter().find(|(word, _)| *word == text);
        found.map(|(_, policy)| policy).ok_or_else(|| {
            Reason::new(format!("is no policy: `{text}`"))
                .hint("it is \"apply\", \"confirm\" or \"report\"")
        })
    }
}

/// A repository whose manifests are accepted here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its site.
    pub site: SiteName,
    /// Its repository UUID: the origin of its runs.
    pub origin: RepositoryId,
    /// The run names it may own.
    pub run_prefixes: Vec<RunPrefix>,
    /// What is done when it has removed runs, or datasets of them.
    pub removals: RemovalPolicy,
    /// The scopes of its files in Rucio; empty: this site's own.
    pub scopes: Vec<Scope>,
    /// Its public keys that are trusted now.
    #[serde(skip)]
    pub keys: Vec<PublicKey>,
    /// Its public keys that were revoked.
    #[serde(skip)]
    pub revoked_keys: Vec<PublicKey>,
}

impl Peer {
    /// Reads one `[[peer]]`; its keys come from their own files.
    pub(crate) fn read(mut section: Section<'_, '_>) -> Option<Self> {
        let site = section.required("site", "\"SITE_B\"");
        let origin = section.required("origin", "\"the UUID that its `runsync keys show` prints\"");
        let run_prefixes: Vec<RunPrefix> = section.list("run_prefixes");
        if run_prefixes.is_empty() {
            let reason = Reason::new("must name at least one prefix");
            section.report(
                "run_prefixes",
                reason.hint("name the runs that this peer may own, such as [\"u/b\"]"),
            );
        }
        let removals = section.or("removals", RemovalPolicy::default());
        let scopes = section.list("scopes");
        section.finish();
        Some(Self {
            site: site?,
            origin: origin?,
            run_prefixes,
            removals,
            scopes,
            keys: Vec::new(),
            revoked_keys: Vec::new(),
        })
    }
}
