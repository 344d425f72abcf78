//! Where an RSE has files, and where they are in the root: told from the PFNs that Rucio returns.
//!
//! Nothing is computed from an algorithm: which one an RSE has is Rucio's affair, and `identity`
//! rewrites some scopes. At an RSE whose PFNs do not follow from names, they follow from the root.

use std::path::Path;

use runsync_config::root::{PathMapping, Root, RootName};
use runsync_manifest::name::{ArtifactPath, RseName};

use super::error::{Elsewhere, PublishError};
use crate::rucio::rses::Rse;
use crate::rucio::{Did, Rucio};

/// The attribute by which an RSE gives new replicas a replica tombstone
/// (`rucio/core/replica.py`, `tombstone_from_delay`).
const TOMBSTONE_DELAY: &str = "tombstone_delay";
/// The folder of a root in which runsync alone writes.
const OURS: &str = "runsync";

/// How one root lies at its RSE.
#[derive(Debug, Clone)]
pub struct Placing {
    root: Root,
    rse: RseName,
    /// What PFNs begin with, where each is the name after that.
    given: Option<String>,
    /// Whether the RSE refuses any other PFN than its own.
    is_deterministic: bool,
}

impl Placing {
    /// Asks Rucio how `root` lies at its RSE.
    ///
    /// # Errors
    ///
    /// Where the RSE cannot hold this root's files, or could not keep them.
    pub fn find(rucio: &Rucio, root: &Root, rse: &RseName) -> Result<Self, PublishError> {
        let known = rucio.rse(rse)?;
        let known = known.ok_or_else(|| PublishError::UnknownRse { rse: rse.clone() })?;
        let attributes = rucio.rse_attributes(rse)?;
        Self::of(root, rse, &known, attributes.contains_key(TOMBSTONE_DELAY))
    }

    fn of(root: &Root, rse: &RseName, known: &Rse, is_reaped: bool) -> Result<Self, PublishError> {
        if is_reaped {
            return Err(PublishError::Unfit {
                rse: rse.clone(),
                why: format!(
                    "its attribute `{TOMBSTONE_DELAY}` has Rucio delete replicas that no rule keeps, and new ones have none until all of their run is registered"
                ),
            });
        }
        if known.volatile {
            return Err(PublishError::Unfit {
                rse: rse.clone(),
                why: "it is volatile: Rucio takes no registrations there".to_owned(),
            });
        }
        let given = if known.deterministic {
            None
        } else {
            Some(given_prefix(root, rse, known)?)
        };
        Ok(Self {
            root: root.clone(),
            rse: rse.clone(),
            given,
            is_deterministic: known.deterministic,
        })
    }

    /// The RSE.
    pub fn rse(&self) -> &RseName {
        &self.rse
    }

    /// The root.
    pub fn root(&self) -> &RootName {
        &self.root.name
    }

    /// The PFN to register a file with; none where the RSE decides it, by an algorithm of its own.
    pub fn pfn(&self, path: &str) -> Option<String> {
        let prefix = self.given.as_ref()?;
        Some(format!("{prefix}{path}"))
    }

    /// Whether the RSE has checked the PFNs that files are registered with.
    pub fn is_checked(&self) -> bool {
        self.is_deterministic && self.given.is_some()
    }

    /// Asks where the RSE would put files, before any is registered, and learns what their PFNs begin
    /// with.
    ///
    /// # Errors
    ///
    /// [`PublishError::Elsewhere`] where that is not where they are.
    pub fn probe(&mut self, rucio: &Rucio, dids: &[Did]) -> Result<(), PublishError> {
        if !self.is_deterministic {
            return Ok(());
        }
        let pfns = rucio.pfns(&self.rse, dids)?;
        let mut prefixes = Vec::with_capacity(dids.len());
        for did in dids {
            let Some(pfn) = pfns.get(&did.to_string()) else {
                continue;
            };
            let second = self.second_name(did, std::slice::from_ref(pfn))?;
            let prefix = pfn.strip_suffix(did.name.as_str());
            prefixes.push(prefix.filter(|_| second.is_none()));
        }
        // The same for all, or it is an algorithm.
        if let Some((Some(first), others)) = prefixes.split_first()
            && others.iter().all(|other| *other == Some(first))
        {
            self.given = Some((*first).to_owned());
        }
        Ok(())
    }

    /// Where a file with these PFNs needs a second name in the root; none where it lies there already.
    ///
    /// # Errors
    ///
    /// [`PublishError::Elsewhere`] where none of the PFNs is that of the file.
    pub fn second_name(
        &self,
        did: &Did,
        pfns: &[String],
    ) -> Result<Option<ArtifactPath>, PublishError> {
        match lies(&self.root, &did.name, pfns) {
            Lies::AsNamed => Ok(None),
            Lies::At(path) if self.is_deterministic => Ok(Some(path)),
            Lies::At(_) | Lies::Elsewhere => Err(self.elsewhere(did, pfns)),
        }
    }

    /// Where a replica that Rucio has lies in the root, whoever has chosen its place.
    ///
    /// # Errors
    ///
    /// [`PublishError::Elsewhere`] where none of the PFNs is in a place of the root that could be its own.
    pub fn place(
        &self,
        did: &Did,
        path: &ArtifactPath,
        pfns: &[String],
    ) -> Result<ArtifactPath, PublishError> {
        match lies(&self.root, &did.name, pfns) {
            Lies::AsNamed => Ok(path.clone()),
            Lies::At(place) => Ok(place),
            Lies::Elsewhere => Err(self.elsewhere(did, pfns)),
        }
    }

    /// What is told of a replica that does not lie where it should.
    pub fn elsewhere(&self, did: &Did, pfns: &[String]) -> PublishError {
        PublishError::Elsewhere(Box::new(Elsewhere {
            did: did.clone(),
            rse: self.rse.clone(),
            pfn: pfns.first().cloned().unwrap_or_default(),
            root: self.root.name.clone(),
            expected: self.expected(&did.name),
        }))
    }

    fn expected(&self, name: &str) -> String {
        match &self.root.pfn_prefix {
            Some(prefix) => format!("{}{name}", prefix.as_str()),
            None => format!("{}/{name}", self.root.url()),
        }
    }
}

/// Where a replica lies in a root, told from its PFNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lies {
    /// Where its name says.
    AsNamed,
    /// Here: it has, or needs, its name as a second one.
    At(ArtifactPath),
    /// In no place of the root that could be its own.
    Elsewhere,
}

/// Where a file of that name lies in a root, by PFNs of an RSE. Only a root with
/// `path_mapping = "rucio"` has files in other places than their names say, and nothing of Rucio's lies
/// in runsync's own folder but manifests, under their names.
pub fn lies(root: &Root, name: &str, pfns: &[String]) -> Lies {
    let mut paths = pfns.iter().filter_map(|pfn| path_in_root(root, pfn));
    let mut first = None;
    for path in paths.by_ref() {
        if path == name {
            return Lies::AsNamed;
        }
        first.get_or_insert(path);
    }
    let is_ours = |path: &ArtifactPath| {
        let path = path.as_str();
        path == OURS
            || path
                .strip_prefix(OURS)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    match (root.path_mapping, first.map(|path| path.parse())) {
        (PathMapping::Rucio, Some(Ok(path))) if !is_ours(&path) => Lies::At(path),
        _ => Lies::Elsewhere,
    }
}

/// Where a PFN is in a root.
fn path_in_root(root: &Root, pfn: &str) -> Option<String> {
    if let Some(prefix) = &root.pfn_prefix {
        return Some(pfn.strip_prefix(prefix.as_str())?.to_owned());
    }
    let (_, path) = pfn.strip_prefix("file://")?.split_once('/')?;
    let path = single_slashes(path);
    let folder = root.directory.to_str()?.trim_start_matches('/');
    Some(path.strip_prefix(folder)?.strip_prefix('/')?.to_owned())
}

/// What PFNs of a root's files begin with at an RSE that takes them as they are given.
fn given_prefix(root: &Root, rse: &RseName, known: &Rse) -> Result<String, PublishError> {
    if let Some(prefix) = &root.pfn_prefix {
        return Ok(prefix.as_str().to_owned());
    }
    let file = known
        .protocols
        .iter()
        .find(|protocol| protocol.scheme == "file");
    let Some(file) = file else {
        return Err(PublishError::Unfit {
            rse: rse.clone(),
            why: format!(
                "it is not deterministic and has no `file` protocol, and `pfn_prefix` of root `{}` does not say how it is reached",
                root.name
            ),
        });
    };
    if !root
        .directory
        .starts_with(Path::new("/").join(file.prefix.trim_start_matches('/')))
    {
        return Err(PublishError::Unfit {
            rse: rse.clone(),
            why: format!(
                "its files lie in {}, and root `{}` in {}",
                file.prefix,
                root.name,
                root.directory.display()
            ),
        });
    }
    let port = match file.port {
        0 => String::new(),
        port => format!(":{port}"),
    };
    Ok(format!(
        "file://{}{port}{}/",
        file.hostname,
        root.directory.display()
    ))
}

fn single_slashes(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test's own file")]
    fn root(mapping: &str) -> Root {
        let toml = format!(
            "[site]\nname = \"A\"\n[[root]]\nname = \"main\"\nurl = \"file:///data/b\"\npath_mapping = \"{mapping}\"\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("site.toml");
        std::fs::write(&file, toml).unwrap();
        runsync_config::load(&file).unwrap().roots.remove(0)
    }

    fn told(root: &Root, name: &str, pfn: &str) -> Lies {
        lies(root, name, &[pfn.to_owned()])
    }

    #[test]
    fn a_file_lies_where_its_name_says_or_elsewhere_in_the_root() {
        let (hash, identity) = (root("rucio"), root("identity"));
        let at = |path: &str| Lies::At(path.parse().unwrap());
        for host in ["", "localhost", "localhost:0"] {
            let pfn = format!("file://{host}/data/b/hsc/0a/1b/x.fits");
            assert_eq!(told(&hash, "u/x.fits", &pfn), at("hsc/0a/1b/x.fits"));
            assert_eq!(told(&identity, "u/x.fits", &pfn), Lies::Elsewhere);
            let pfn = format!("file://{host}/data//b/u/x.fits");
            assert_eq!(told(&identity, "u/x.fits", &pfn), Lies::AsNamed);
        }
    }

    #[test]
    fn no_pfn_leads_out_of_the_root_or_into_what_is_runsyncs_own() {
        let hash = root("rucio");
        for pfn in [
            "file://localhost/data/b/../secret",
            "file://localhost/data/b/x/../../../etc/passwd",
            "file://localhost/data/bb/x",
            "file://localhost/data/b",
            "file://localhost/data/b/",
            "file://localhost/etc/passwd",
            "file://localhost/data/b/runsync/repository.json",
            "file://localhost/data/b/runsync/journal/x.journal.jsonl",
            "file://localhost/data/b/./x",
            "davs://host/data/b/x",
            "",
        ] {
            assert_eq!(told(&hash, "u/x.fits", pfn), Lies::Elsewhere, "{pfn}");
        }
    }
}
