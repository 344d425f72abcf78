//! Peers: other sites' repositories, their keys and the runs they may own.

use runsync_manifest::name::{RepositoryId, RunPrefix, SiteName};
use runsync_manifest::signature::PublicKey;
use serde::Serialize;

use crate::problem::Reason;
use crate::raw::Section;

/// A repository whose manifests are accepted here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its site.
    pub site: SiteName,
    /// Its repository UUID: the origin of its runs.
    pub origin: RepositoryId,
    /// The run names it may own.
    pub run_prefixes: Vec<RunPrefix>,
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
        section.finish();
        Some(Self {
            site: site?,
            origin: origin?,
            run_prefixes,
            keys: Vec::new(),
            revoked_keys: Vec::new(),
        })
    }
}
