//! The journal folder of a directory.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, fsync, unlinkat};
use rustix::io::Errno;

use super::LocalRoot;
use super::handle::{LISTABLE, failure, open_below, open_regular};
use super::install::{BLOCK_BYTES, install, io_error};
use super::listing::read_names;
use crate::datastore::DatastoreError;
use crate::datastore::journals::{Fill, JOURNAL_FOLDER, Journals, is_journal_name};

/// Whoever works in the root may finish what a journal says, and anybody may see what is under
/// way there.
const FILE_MODE: Mode = Mode::from_raw_mode(0o644);

impl LocalRoot {
    fn journal_folder(&self) -> Result<OwnedFd, DatastoreError> {
        open_below(&self.handle, JOURNAL_FOLDER, LISTABLE)
            .map_err(|errno| failure("open", JOURNAL_FOLDER, errno))
    }
}

fn path_of(name: &str) -> Result<String, DatastoreError> {
    if is_journal_name(name) {
        return Ok(format!("{JOURNAL_FOLDER}/{name}"));
    }
    Err(DatastoreError::JournalName {
        name: name.to_owned(),
    })
}

/// Whether a file ends with the end of a line.
fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

impl Journals for LocalRoot {
    fn list(&self) -> Result<Vec<String>, DatastoreError> {
        let folder = match self.journal_folder() {
            Err(DatastoreError::Missing { .. }) => return Ok(Vec::new()),
            folder => folder?,
        };
        let names = read_names(&folder).map_err(|e| failure("list", JOURNAL_FOLDER, e))?;
        let mut journals: Vec<String> = names
            .into_iter()
            .filter(|name| is_journal_name(name))
            .collect();
        journals.sort_unstable();
        Ok(journals)
    }

    fn create(&self, name: &str, fill: &mut Fill<'_>) -> Result<(), DatastoreError> {
        let path = path_of(name)?;
        let created = install(&self.handle, &path, FILE_MODE, &mut |to| {
            let mut to = BufWriter::with_capacity(BLOCK_BYTES, to);
            fill(&mut to)?;
            to.flush()
        })?;
        if created {
            return Ok(());
        }
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        Err(io_error("create", &path, exists))
    }

    fn open_journal(&self, name: &str) -> Result<File, DatastoreError> {
        Ok(open_regular(&self.handle, &path_of(name)?)?.0)
    }

    fn append(&self, name: &str, line: &str) -> Result<(), DatastoreError> {
        let path = path_of(name)?;
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NOCTTY;
        let file = open_below(&self.handle, &*path, flags | OFlags::NONBLOCK)
            .map_err(|errno| failure("open", &path, errno))?;
        let mut file = File::from(file);
        let mut write = || {
            // What an append that failed has left is a line of its own.
            let before = if ends_whole(&mut file)? { "" } else { "\n" };
            file.write_all(format!("{before}{line}\n").as_bytes())?;
            file.sync_data()
        };
        write().map_err(|source| io_error("write to", &path, source))
    }

    fn remove(&self, name: &str) -> Result<(), DatastoreError> {
        let path = path_of(name)?;
        let folder = match self.journal_folder() {
            Err(DatastoreError::Missing { .. }) => return Ok(()),
            folder => folder?,
        };
        match unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(io_error("remove", &path, errno.into())),
        }
        fsync(&folder).map_err(|errno| io_error("sync the folder of", &path, errno.into()))
    }
}
