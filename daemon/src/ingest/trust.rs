//! Whose word counts here: origins, the run names they own, and their keys.
//!
//! Built from configuration, and built anew on reload.

use runsync_config::peer::{Peer, RemovalPolicy};
use runsync_config::site::Site;
use runsync_manifest::checksum::Sha256;
use runsync_manifest::name::{RepositoryId, RunName, RunPrefix};
use runsync_manifest::signature::{KeyId, PublicKey, Signature};

use crate::adopted;

/// Everything needed to judge who may say what about which run.
#[derive(Debug, Clone)]
pub struct Trust {
    local: RepositoryId,
    local_keys: Vec<PublicKey>,
    site: Site,
    /// Origins of what this site adopts or may have adopted, with what they are called.
    adopted: Vec<(RepositoryId, String)>,
}

/// What a signature is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureWorth {
    /// Made by a trusted key of that repository.
    Good,
    /// Made by no key that is known for that repository.
    KeyUnknown,
    /// Made by a key that was revoked.
    KeyRevoked,
    /// Names a key that did not make it.
    Bad,
}

impl Trust {
    /// Trust in our own repository (`local_keys`: its key and its former ones) and in the
    /// peers that the configuration names.
    pub fn new(local: RepositoryId, local_keys: Vec<PublicKey>, site: Site) -> Self {
        let rses = adopted::rses(&site).into_iter();
        let adopted = rses.map(|rse| (adopted::origin_of(rse), adopted::label(rse)));
        Self {
            local,
            local_keys,
            adopted: adopted.collect(),
            site,
        }
    }

    /// Whether a repository stands for what this site adopts, or once did, at one of its RSEs.
    pub fn is_adopted(&self, repository: RepositoryId) -> bool {
        self.label(repository).is_some()
    }

    /// What such a repository is called.
    pub fn label(&self, repository: RepositoryId) -> Option<&str> {
        let mut adopted = self.adopted.iter();
        let found = adopted.find(|(origin, _)| *origin == repository);
        found.map(|(_, label)| label.as_str())
    }

    /// The repositories that stand for what this site adopts, or once did.
    pub fn adopted_origins(&self) -> impl Iterator<Item = RepositoryId> {
        self.adopted.iter().map(|(origin, _)| *origin)
    }

    /// The repositories, this site's among them, that may own a run of that name by their own manifests.
    pub(super) fn owners_of(&self, run: &RunName) -> Vec<RepositoryId> {
        let peers = self.site.peers.iter().map(|peer| peer.origin);
        let all = std::iter::once(self.local).chain(peers);
        all.filter(|origin| self.may_own(*origin, run)).collect()
    }

    /// A run-name prefix below which a path lies, of a repository that does not own `run`.
    pub fn foreign_prefix(&self, run: &RunName, path: &str) -> Option<&RunPrefix> {
        let own = &self.site.run_prefixes;
        let peers = self.site.peers.iter().map(|peer| &peer.run_prefixes);
        let mut prefixes = std::iter::once(own).chain(peers).flatten();
        prefixes.find(|prefix| prefix.covers(path) && !prefix.owns(run))
    }

    /// This site's own repository.
    pub fn local(&self) -> RepositoryId {
        self.local
    }

    /// Whether manifests of a repository are accepted at all.
    pub fn knows(&self, repository: RepositoryId) -> bool {
        repository == self.local
            || self.site.peer(repository).is_some()
            || self.is_adopted(repository)
    }

    /// Whether Rucio carries this site's data.
    pub fn has_rucio(&self) -> bool {
        self.site.rucio.is_some()
    }

    /// The peers that configuration names now.
    pub fn peers(&self) -> &[Peer] {
        &self.site.peers
    }

    /// What is done when a repository has removed runs: our own word is followed, and that of one which
    /// the configuration does not name (any more) is only listed.
    pub(super) fn removal_policy(&self, repository: RepositoryId) -> RemovalPolicy {
        if repository == self.local {
            return RemovalPolicy::Apply;
        }
        let peer = self.site.peer(repository);
        peer.map_or(RemovalPolicy::Report, |peer| peer.removals)
    }

    /// Whether a repository may own a run of that name.
    pub(super) fn may_own(&self, repository: RepositoryId, run: &RunName) -> bool {
        if repository == self.local {
            return self.site.may_own(run);
        }
        // What is taken anew, `[adopt]` says. What was adopted before stays, whatever it says by now.
        self.is_adopted(repository)
            || self
                .site
                .peer(repository)
                .is_some_and(|peer| peer.run_prefixes.iter().any(|prefix| prefix.owns(run)))
    }

    /// The run-name prefixes that other repositories than this one are configured to own.
    pub(super) fn prefixes_of_others(&self, repository: RepositoryId) -> Vec<&RunPrefix> {
        let own = Some(&self.site.run_prefixes).filter(|_| repository != self.local);
        let peers = self
            .site
            .peers
            .iter()
            .filter(|peer| peer.origin != repository);
        own.into_iter()
            .chain(peers.map(|peer| &peer.run_prefixes))
            .flatten()
            .collect()
    }

    /// Whether a key of `repository` counts: it is known, and not revoked.
    pub(super) fn counts(&self, repository: RepositoryId, key: KeyId) -> bool {
        matches!(self.find(repository, key), Standing::Known(_))
    }

    fn find(&self, repository: RepositoryId, key: KeyId) -> Standing<'_> {
        let peer = self.site.peer(repository);
        let of_peer = peer.map_or(&[][..], |peer| &peer.keys);
        let own = if repository == self.local || self.is_adopted(repository) {
            self.local_keys.as_slice()
        } else {
            &[]
        };
        let revoked = peer.map_or(&[][..], |peer| &peer.revoked_keys);
        if revoked.iter().any(|revoked| revoked.id() == key) {
            return Standing::Revoked;
        }
        let known = own.iter().chain(of_peer).find(|known| known.id() == key);
        known.map_or(Standing::Unknown, Standing::Known)
    }

    /// Judges a signature that is said to be `repository`'s.
    pub(super) fn judge(
        &self,
        repository: RepositoryId,
        signature: &Signature,
        digest: &Sha256,
    ) -> SignatureWorth {
        match self.find(repository, signature.key_id) {
            Standing::Revoked => SignatureWorth::KeyRevoked,
            Standing::Unknown => SignatureWorth::KeyUnknown,
            Standing::Known(key) if signature.is_by(key, digest) => SignatureWorth::Good,
            Standing::Known(_) => SignatureWorth::Bad,
        }
    }
}

/// What is known of a key.
enum Standing<'a> {
    Known(&'a PublicKey),
    Unknown,
    Revoked,
}

#[cfg(test)]
mod tests {
    use runsync_config::http::Http;
    use runsync_config::log::{Log, LogFormat};
    use runsync_config::peer::Peer;
    use runsync_config::registry::RegistryBackend;
    use runsync_manifest::limits::Limits;
    use runsync_manifest::signature::SigningKey;
    use uuid::Uuid;

    use super::*;

    fn repository(number: u128) -> RepositoryId {
        RepositoryId(Uuid::from_u128(number))
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn site(peers: Vec<Peer>) -> Site {
        Site {
            config_file: "site.toml".into(),
            name: "SITE_A".parse().unwrap(),
            run_prefixes: vec![],
            state_directory: "state".into(),
            signing_key_file: "signing.pem".into(),
            trusted_keys_directory: "trusted".into(),
            roots: vec![],
            peers,
            registry: RegistryBackend::Sqlite {
                file: "registry".into(),
            },
            limits: Limits::default(),
            http: Http::new("socket".into()),
            lease: runsync_config::lease::Lease::default(),
            removal: runsync_config::removal::Removal::default(),
            repair: runsync_config::repair::Repair::default(),
            rucio: None,
            adopt: None,
            events: runsync_config::events::Events::default(),
            event_sources: Vec::new(),
            schedules: Vec::new(),
            log: Log {
                format: LogFormat::Human,
                filter: "info".into(),
            },
        }
    }

    fn trust() -> Trust {
        let peer = Peer {
            site: "SITE_B".parse().unwrap(),
            origin: repository(2),
            run_prefixes: vec!["u/b".parse().unwrap()],
            scopes: Vec::new(),
            removals: RemovalPolicy::default(),
            keys: vec![key(2).public()],
            revoked_keys: vec![key(3).public()],
        };
        Trust::new(repository(1), vec![key(1).public()], site(vec![peer]))
    }

    fn may_own(origin: u128, run: &str) -> bool {
        trust().may_own(repository(origin), &run.parse().unwrap())
    }

    #[test]
    fn a_peer_owns_its_prefixes_and_we_own_the_rest() {
        assert!(may_own(2, "u/b/run"));
        assert!(!may_own(2, "u/bb"));
        assert!(!may_own(1, "u/b"));
        assert!(may_own(1, "u/bb"));
        assert!(!may_own(9, "u/b"));
        assert!(trust().knows(repository(2)) && !trust().knows(repository(9)));
    }

    #[test]
    fn what_was_adopted_at_a_root_counts_without_its_section() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let config = "[site]\nname = \"SITE_A\"\n\
            [[root]]\nname = \"main\"\nurl = \"file:///data\"\nrse = \"SITE_A_DISK\"\n";
        std::io::Write::write_all(&mut file, config.as_bytes()).unwrap();
        let site = runsync_config::load(file.path()).unwrap();
        let trust = Trust::new(repository(1), vec![key(1).public()], site);
        let adopted = adopted::origin_of(&"SITE_A_DISK".parse().unwrap());
        let run = "u/run".parse().unwrap();
        assert!(trust.knows(adopted) && trust.is_adopted(adopted));
        assert!(trust.may_own(adopted, &run));
        assert!(!trust.owners_of(&run).contains(&adopted));
        assert_eq!(trust.label(adopted), Some("adopted:SITE_A_DISK"));
        let other = adopted::origin_of(&"SITE_B_DISK".parse().unwrap());
        assert!(!trust.knows(other) && !trust.may_own(other, &run));
    }

    #[test]
    fn only_a_trusted_key_of_the_origin_makes_a_good_signature() {
        let digest = Sha256([7; 32]);
        let judge =
            |origin, seed| trust().judge(repository(origin), &key(seed).sign(&digest), &digest);
        assert_eq!(judge(1, 1), SignatureWorth::Good);
        assert_eq!(judge(2, 2), SignatureWorth::Good);
        assert_eq!(judge(1, 2), SignatureWorth::KeyUnknown);
        assert_eq!(judge(2, 1), SignatureWorth::KeyUnknown);
        assert_eq!(judge(2, 3), SignatureWorth::KeyRevoked);
        let counts = |origin, seed: u8| trust().counts(repository(origin), key(seed).public().id());
        assert!(counts(1, 1) && counts(2, 2));
        assert!(!counts(1, 2) && !counts(2, 1) && !counts(2, 3) && !counts(9, 2));
        let over_other = key(2).sign(&Sha256([8; 32]));
        assert_eq!(
            trust().judge(repository(2), &over_other, &digest),
            SignatureWorth::Bad
        );
    }
}
