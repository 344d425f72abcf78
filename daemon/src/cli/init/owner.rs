//! Hands what root made to the user that the daemon will run as.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Gid, Uid, chownat};

use crate::cli::failure::{Failure, Hint};

/// The user that the packaged service runs as.
const SERVICE_USER: &str = "runsync";
const USERS: &str = "/etc/passwd";

/// A user of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// The one named; else the service's user, where root asks and there is one. `None`: whoever
    /// asks keeps what is made.
    pub(super) fn of_new_files(named: Option<&str>) -> Result<Option<Self>, Failure> {
        let root = rustix::process::geteuid().is_root();
        let Some(name) = named.or(root.then_some(SERVICE_USER)) else {
            return Ok(None);
        };
        let users = fs::read_to_string(USERS).while_doing(format!("cannot read {USERS}"))?;
        let found = find(&users, name);
        if named.is_some() && found.is_none() {
            let message = format!("cannot give the site to `{name}`: there is no such user");
            let hint = format!("name a user of {USERS}");
            return Err(Failure::new(message).hint(hint).usage());
        }
        Ok(found)
    }

    /// Gives it a file or folder that the caller owns; what belongs to somebody else already, such
    /// as a folder that a storage service writes to, stays theirs. Symbolic links are not followed.
    pub(super) fn give(self, path: &Path) -> Result<(), Failure> {
        let giving = || format!("cannot give {} to the user {}", path.display(), self.user);
        let of = fs::symlink_metadata(path).while_doing(giving())?.uid();
        if of != rustix::process::geteuid().as_raw() {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        chownat(
            CWD,
            path,
            Some(user),
            Some(group),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .while_doing(giving())
        .hint("run `init` as that user, or as root")
    }

    /// Gives it a folder and all that is in it.
    pub(super) fn give_all(self, folder: &Path) -> Result<(), Failure> {
        let reading = || format!("cannot read {}", folder.display());
        for entry in fs::read_dir(folder).while_doing(reading())? {
            let entry = entry.while_doing(reading())?;
            if entry.file_type().while_doing(reading())?.is_dir() {
                self.give_all(&entry.path())?;
            } else {
                self.give(&entry.path())?;
            }
        }
        self.give(folder)
    }
}

/// Looks a name up in the text of `/etc/passwd`.
fn find(users: &str, name: &str) -> Option<Owner> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        let (user, group) = (fields.nth(1)?, fields.next()?);
        let owner = Owner {
            user: user.parse().ok()?,
            group: group.parse().ok()?,
        };
        found.then_some(owner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbroken\nrunsync:x:997:995::/:/usr/sbin/nologin";
        let owner = Owner {
            user: 997,
            group: 995,
        };
        assert_eq!(find(users, "runsync"), Some(owner));
        assert_eq!(find(users, "run"), None);
    }
}
