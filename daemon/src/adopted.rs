//! Runs that were adopted: put together here from messages about single files, until their owner speaks.
//!
//! A sender of per-file messages publishes no manifests, so its runs have no origin that could sign one.
//! This site writes and signs theirs, under an origin that stands for one RSE: `adopted:<RSE>`. Such a run
//! is of this site alone: it is told to nobody, and gives way as soon as an owner's manifest names the
//! same run (`ingest::give_way`).

use std::collections::BTreeSet;

use runsync_config::site::Site;
use runsync_manifest::name::{RepositoryId, RseName};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

/// Namespace of the UUIDs that stand for RSEs. Fixed for ever: runs are known by them.
const NAMESPACE: Uuid = Uuid::from_u128(0x5f0c_8b1e_3a57_4d0e_9c55_6a1d_2f7b_e490);

/// The run that holds dimension records from files of them, and no datasets: one for each RSE.
pub const DIMENSIONS_RUN: &str = "adopted-dimensions";

/// The RSEs at which a site may have adopted anything: those of its roots, whether it adopts there by now or not,
/// each once.
pub fn rses(site: &Site) -> BTreeSet<&RseName> {
    let of_roots = site.roots.iter().filter_map(|root| root.rse.as_ref());
    let adopting = site.adopt.iter().flat_map(|adopt| &adopt.rses);
    of_roots.chain(adopting).collect()
}

/// What an adopted origin is called.
pub fn label(rse: &RseName) -> String {
    format!("adopted:{rse}")
}

/// The origin of what is adopted at an RSE: a UUID of version 8 (RFC 9562), from the SHA-256 of a fixed
/// namespace and the [`label`]. So it is the same after every reinstallation.
pub fn origin_of(rse: &RseName) -> RepositoryId {
    let mut digest = Sha256::new();
    digest.update(NAMESPACE.as_bytes());
    digest.update(label(rse));
    let mut bytes = [0; 16];
    for (byte, digit) in bytes.iter_mut().zip(digest.finalize()) {
        *byte = digit;
    }
    RepositoryId(Builder::from_custom_bytes(bytes).into_uuid())
}

/// Whether an origin stands for what was adopted at an RSE, of configuration or of what it said before. No
/// repository is such a one: their UUIDs are of other versions.
pub fn is_adopted(origin: RepositoryId) -> bool {
    origin.0.get_version_num() == 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rse_has_one_origin_for_ever() {
        let origin = |rse: &str| origin_of(&rse.parse().unwrap());
        let known = origin("SITE_B_DISK");
        assert_eq!(known.to_string(), "795ddfc6-e155-8019-aea0-12b70460ddc8");
        assert_ne!(known, origin("SITE_C_DISK"));
        assert!(is_adopted(known));
        assert!(!is_adopted(RepositoryId(Uuid::new_v4())));
        assert!(!is_adopted(RepositoryId(Uuid::now_v7())));
    }
}
