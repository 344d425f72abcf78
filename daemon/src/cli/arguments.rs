//! Values of options that several commands have.

use jiff::Timestamp;
use runsync_manifest::name::ArtifactPath;

/// A folder of a root, also as shells complete it, with a `/` at its end.
pub(crate) fn folder(text: &str) -> Result<ArtifactPath, String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let folder = text.parse::<ArtifactPath>();
    folder.map_err(|error| format!("{error}: it is a folder in the root, such as `HSC/runs/one`"))
}

/// A time.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let time = text.parse();
    time.map_err(|_| "it is no time with its zone, such as `2026-11-01T00:00:00Z`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_may_end_as_shells_complete_them() {
        assert_eq!(folder("HSC/runs/"), folder("HSC/runs"));
        for bad in ["", "/", "/HSC", "HSC//", "runsync"] {
            assert!(folder(bad).unwrap_err().contains("a folder in the root"));
        }
    }

    #[test]
    fn times_have_a_zone() {
        assert!(time("2026-11-01T00:00:00Z").is_ok());
        for bad in ["yesterday", "2026-11-01", "2026-11-01T00:00:00"] {
            assert!(time(bad).unwrap_err().contains("such as"));
        }
    }
}
