//! Origins as operators write and read them: a UUID, or `adopted:RSE` for what is adopted at an RSE.

use runsync_config::site::Site;
use runsync_manifest::name::{RepositoryId, RseName};

use crate::adopted;

/// What adopted origins begin with.
const ADOPTED: &str = "adopted:";

/// Reads what stands behind `--origin`.
pub(crate) fn parse(text: &str) -> Result<RepositoryId, String> {
    if let Some(rse) = text.strip_prefix(ADOPTED) {
        let rse: RseName = rse.parse().map_err(|error| format!("{error}"))?;
        return Ok(adopted::origin_of(&rse));
    }
    text.parse()
        .map(RepositoryId)
        .map_err(|_| "expected a UUID, or `adopted:RSE`".to_owned())
}

/// What an adopted origin is called, where it is one of this site's.
pub(crate) fn adopted_label(origin: RepositoryId, site: &Site) -> Option<String> {
    let mut rses = adopted::rses(site).into_iter();
    rses.find(|rse| adopted::origin_of(rse) == origin)
        .map(adopted::label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adopted_origin_is_named_by_its_rse() {
        let rse = "SITE_B_DISK".parse().unwrap();
        let origin = adopted::origin_of(&rse);
        assert_eq!(parse("adopted:SITE_B_DISK"), Ok(origin));
        assert_eq!(parse(&origin.to_string()), Ok(origin));
        assert!(parse("adopted:").is_err() && parse("adopted").is_err());
    }
}
