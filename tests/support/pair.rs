//! Two sites: an origin, and one that holds copies of its runs. What Rucio carries between them is
//! carried here by hand.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::unwrap_used,
    reason = "test support, of which each target uses a part"
)]

use std::fs;

use runsync_config::key_file::PublicKeyFile;

use crate::support::{TestSite, write};

/// What a site says of an origin whose runs it accepts.
pub fn peer(origin: &TestSite, policy: &str) -> String {
    format!(
        "[[peer]]\nsite = \"SITE_A\"\norigin = \"{}\"\nrun_prefixes = [\"u\"]\nremovals = \"{policy}\"\n",
        origin.repository
    )
}

/// A site that holds copies of an origin's runs, and what it does when those are removed.
pub fn copy_of(origin: &TestSite, policy: &str, more: &str) -> TestSite {
    let site = TestSite::in_memory_as("SITE_B", 0xC, "size");
    site.configure("size", &format!("{}{more}", peer(origin, policy)));
    trust(&site, origin);
    site
}

/// Has a site trust the key of an origin.
pub fn trust(site: &TestSite, origin: &TestSite) {
    let key = PublicKeyFile {
        site: "SITE_A".parse().unwrap(),
        repository: origin.repository,
        public_key: origin.key.public(),
        revoked: false,
    };
    let file = format!("keys/trusted/{}.json", key.public_key.id());
    let file = site.folder.path().join(file);
    write(&file, &serde_json::to_vec(&key).unwrap());
}

/// Carries all manifests that one site has and the other lacks, in the order of their paths.
pub fn carry_manifests(from: &TestSite, to: &TestSite) -> usize {
    let mut carried = 0;
    for path in manifests(from) {
        if !fs::exists(to.root().join(&path)).unwrap() {
            to.put(&path, &fs::read(from.root().join(&path)).unwrap());
            carried += 1;
        }
    }
    carried
}

/// The manifests that lie at a site, relative to its root, by path.
pub fn manifests(site: &TestSite) -> Vec<String> {
    files_below(site, "runsync/manifests")
}

/// The files that lie below a folder of a site's root, relative to the root, by path.
pub fn files_below(site: &TestSite, folder: &str) -> Vec<String> {
    let root = site.root();
    let mut folders = vec![root.join(folder)];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let path = entry.path();
                let path = path.strip_prefix(&root).unwrap();
                files.push(path.to_str().unwrap().to_owned());
            }
        }
    }
    files.sort_unstable();
    files
}
