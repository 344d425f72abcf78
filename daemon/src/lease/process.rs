//! A process on this machine, told apart from every other, also from a later one of its number.

use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, getpid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// When the kernel started it, in its own ticks since the machine was started.
    pub started: u64,
    /// The name space that its number belongs to: another container has its own.
    pub namespace: String,
}

impl Process {
    /// The calling process.
    ///
    /// # Errors
    ///
    /// Where `/proc` does not tell.
    pub fn this() -> io::Result<Self> {
        Self::of(getpid())
    }

    /// The process that has a number in this one's name space now.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self {
            pid: pid.as_raw_nonzero().get(),
            started: started(pid)?,
            namespace: namespace()?,
        })
    }

    /// Ends it with SIGKILL, where it is alive, of this account, and certainly this one: a signal
    /// sent by number could hit another that has got the number meanwhile.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses.
    pub fn kill(&self) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid).filter(|pid| *pid != getpid()) else {
            return Ok(false);
        };
        if self.namespace != namespace()? {
            return Ok(false);
        }
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(Errno::SRCH) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        // Looked at after the handle was had: what is compared is what the handle means.
        if !self.is(pid)? {
            return Ok(false);
        }
        match pidfd_send_signal(handle, Signal::KILL) {
            Ok(()) => Ok(true),
            Err(Errno::SRCH) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is(&self, pid: Pid) -> io::Result<bool> {
        let ours = match fs::metadata(folder(pid)) {
            Ok(found) => std::os::unix::fs::MetadataExt::uid(&found) == geteuid().as_raw(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        Ok(ours && started(pid)? == self.started)
    }
}

fn folder(pid: Pid) -> PathBuf {
    PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()))
}

fn namespace() -> io::Result<String> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    Ok(link.to_string_lossy().into_owned())
}

fn started(pid: Pid) -> io::Result<u64> {
    let stat = fs::read_to_string(folder(pid).join("stat"))?;
    start_time(&stat).ok_or_else(|| io::Error::other("/proc tells no start time of the process"))
}

/// The 22nd field of `/proc/PID/stat`, `starttime` in `proc_pid_stat(5)`. The second, the command's
/// name in parentheses, may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    use super::*;

    fn sleeper() -> (Child, Process) {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let process = Process::of(Pid::from_child(&child)).unwrap();
        (child, process)
    }

    #[test]
    fn the_process_that_is_meant_is_ended() {
        let (mut child, process) = sleeper();
        assert!(process.kill().unwrap());
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        assert!(!process.kill().unwrap(), "it is gone");
    }

    #[test]
    fn another_process_of_its_number_is_left_alone() {
        let (mut child, process) = sleeper();
        let earlier = Process {
            started: process.started - 1,
            ..process.clone()
        };
        let elsewhere = Process {
            namespace: "pid:[1]".to_owned(),
            ..process
        };
        assert!(!earlier.kill().unwrap());
        assert!(!elsewhere.kill().unwrap());
        assert_eq!(child.try_wait().unwrap(), None);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!Process::this().unwrap().kill().unwrap(), "not itself");
    }

    #[test]
    fn a_name_with_parentheses_hides_no_start_time() {
        let fields: Vec<String> = (4..=52).map(|field| field.to_string()).collect();
        let stat = format!("7 (a) b ) S {}", fields.join(" "));
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("7 (a) S 1"), None);
    }
}
