//! Tells where events cannot be relied on, and how often to sweep there.

use std::path::Path;
use std::time::Duration;

use rustix::fs::statfs;
use rustix::io::Errno;

/// How often a root without events is swept, where configuration does not say more often: a run
/// should not wait longer than a coffee takes, and 10,000 files cost a fraction of a second.
pub const POLL_INTERVAL: Duration = Duration::from_secs(60);

/// Why a root has no events, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Degraded {
    /// Other machines change it, and the kernel tells nobody.
    #[error("{0} does not report what other machines change")]
    FileSystem(&'static str),
    /// The user may not watch more directories.
    #[error("the limit of inotify watches is reached; raise fs.inotify.max_user_watches")]
    WatchLimit,
    /// The user may not have another inotify instance.
    #[error("the limit of inotify instances is reached; raise fs.inotify.max_user_instances")]
    InstanceLimit,
    /// Events are switched off by configuration.
    #[error("events are switched off in the configuration")]
    SwitchedOff,
    /// Anything else.
    #[error("cannot watch: {0}")]
    Failed(String),
}

/// File systems that other machines write to, by the number that `statfs` gives them
/// (`linux/magic.h`, and the file systems' own headers for those outside of the kernel).
const REMOTE: [(u32, &str); 16] = [
    (0x0000_6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0000_517b, "SMB"),
    (0x6573_5546, "FUSE"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x00c3_6400, "CephFS"),
    (0x1983_0326, "BeeGFS"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "kAFS"),
    (0x0102_1997, "9P"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0xaad7_aaea, "PanFS"),
    (0x2003_0528, "OrangeFS"),
];

/// Why events about this directory cannot be trusted; `None` where they can.
///
/// # Errors
///
/// Where the file system cannot be asked.
pub fn untrusted(directory: &Path) -> Result<Option<Degraded>, Errno> {
    let kind = statfs(directory)?.f_type;
    Ok(remote(kind).map(Degraded::FileSystem))
}

/// How often to sweep a root: as configured, but at least every [`POLL_INTERVAL`] without events.
pub fn sweep_interval(configured: Duration, degraded: Option<&Degraded>) -> Duration {
    match degraded {
        Some(_) => configured.min(POLL_INTERVAL),
        None => configured,
    }
}

/// The number is 32 bits wide; its type differs between architectures, and may carry a sign.
fn remote<T: TryInto<i64>>(kind: T) -> Option<&'static str> {
    let kind: i64 = kind.try_into().ok()?;
    let low = u32::try_from(kind & 0xffff_ffff).ok()?;
    REMOTE
        .iter()
        .find(|(number, _)| *number == low)
        .map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remote_file_systems_are_known_by_number_even_with_a_sign() {
        assert_eq!(remote(0x6969_i64), Some("NFS"));
        assert_eq!(remote(0x0bd0_0bd0_i64), Some("Lustre"));
        assert_eq!(remote(0xff53_4d42_u64), Some("CIFS"));
        assert_eq!(
            remote(i64::from(0xff53_4d42_u32.cast_signed())),
            Some("CIFS")
        );
        assert_eq!(remote(0xef53_i64), None, "ext4");
        assert_eq!(remote(0x0102_1994_i64), None, "tmpfs");
    }

    #[test]
    fn a_local_directory_is_trusted() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(untrusted(directory.path()), Ok(None));
        assert_eq!(untrusted(&directory.path().join("none")), Err(Errno::NOENT));
    }

    #[test]
    fn without_events_the_sweep_comes_more_often_and_never_more_seldom() {
        let long = Duration::from_secs(3600);
        let short = Duration::from_secs(5);
        let limit = Degraded::WatchLimit;
        assert_eq!(sweep_interval(long, None), long);
        assert_eq!(sweep_interval(long, Some(&limit)), POLL_INTERVAL);
        assert_eq!(sweep_interval(short, Some(&limit)), short);
    }
}
