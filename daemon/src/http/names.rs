//! Asks the system for users and groups.

use std::ffi::CString;
use std::fmt::Debug;

use nix::errno::Errno;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};

/// What knows users and groups. All of it blocks: a name service may be far away.
pub(super) trait Names: Send + Sync + Debug {
    /// The user of that number.
    fn user(&self, uid: Uid) -> Result<Option<User>, Errno>;

    /// The group of that name.
    fn group(&self, name: &str) -> Result<Option<Group>, Errno>;

    /// The groups that a user is in.
    fn groups_of(&self, user: &User) -> Result<Vec<Gid>, Errno>;
}

/// The name services that `nsswitch.conf` names.
#[derive(Debug)]
pub(super) struct System;

impl Names for System {
    fn user(&self, uid: Uid) -> Result<Option<User>, Errno> {
        found(User::from_uid(uid))
    }

    fn group(&self, name: &str) -> Result<Option<Group>, Errno> {
        found(Group::from_name(name))
    }

    fn groups_of(&self, user: &User) -> Result<Vec<Gid>, Errno> {
        let name = CString::new(user.name.as_str()).map_err(|_| Errno::EINVAL)?;
        getgrouplist(&name, user.gid)
    }
}

/// Some name services say with an error that there is no such name: `getpwnam(3)`.
fn found<T>(answer: Result<Option<T>, Errno>) -> Result<Option<T>, Errno> {
    match answer {
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        answer => answer,
    }
}
