//! Replicas: which files are where.
//!
//! The server answers 201 for a replica that is there already, ignores another size or checksum than
//! it knows, and at a new RSE stores one that contradicts the file's own, which it does not show. So
//! whatever is registered is read back and compared, with the file itself, and a call that got no answer
//! is read back before it is sent again. What should not be stored at all is looked for first
//! ([`Look::First`]).

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use runsync_manifest::checksum::{Adler32, Md5};
use runsync_manifest::name::{RseName, Scope};
use serde::{Deserialize, Serialize};

use super::client::{Call, Rucio};
use super::did::Did;
use super::error::RucioError;
use super::exception::Refusal;
use super::lines::Lines;

/// A file to be registered at an RSE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReplica {
    /// The file.
    pub did: Did,
    /// Its size in bytes.
    pub bytes: u64,
    /// Its Adler-32 checksum.
    pub adler32: Adler32,
    /// Its MD5 checksum, where it is known.
    pub md5: Option<Md5>,
    /// Where it lies; needed where the RSE does not decide it.
    pub pfn: Option<String>,
}

/// A file and its replicas, as the server lists them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Replica {
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// Its Adler-32 checksum in hexadecimal.
    pub adler32: Option<String>,
    /// Its MD5 checksum in hexadecimal.
    pub md5: Option<String>,
    /// The PFNs at each RSE.
    #[serde(default)]
    pub rses: BTreeMap<String, Vec<String>>,
    /// The state at each RSE, such as `AVAILABLE`.
    #[serde(default)]
    pub states: BTreeMap<String, String>,
}

/// The state of a replica that can be read.
pub const AVAILABLE: &str = "AVAILABLE";

/// The state of a replica that is on its way.
pub const COPYING: &str = "COPYING";

/// The state of a replica that was declared bad.
pub const BAD: &str = "BAD";

impl Replica {
    /// Whether it is in a state at an RSE.
    pub fn is(&self, rse: &RseName, state: &str) -> bool {
        self.states.get(rse.as_str()).map(String::as_str) == Some(state)
    }
}

/// What registering a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// It is registered by this, and lies there.
    Done(Place),
    /// It was registered before, with this size and checksum.
    Equal(Place),
    /// The server knows another size or checksum.
    Conflict {
        /// What differs, for people.
        what: String,
    },
    /// The server does not take it.
    Refused(Refusal),
    /// The server says that it took it, and does not list it.
    Missing,
}

/// Where a replica lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The URLs by which the RSE is reached, one of each of its protocols; none where they were not asked
    /// for.
    pub pfns: Vec<String>,
    /// Its state.
    pub state: String,
}

/// Whether the server is asked before it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing of it should be there.
    After,
    /// Some of it may be there: what is there and equal is not sent again, and what is known as another
    /// file, wherever it lies, is not sent at all.
    First,
}

#[derive(Serialize)]
struct AddReplicas<'a> {
    rse: &'a RseName,
    files: Vec<AddReplica<'a>>,
}

#[derive(Serialize)]
struct AddReplica<'a> {
    scope: &'a Scope,
    name: &'a str,
    bytes: u64,
    adler32: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pfn: Option<&'a str>,
}

#[derive(Serialize)]
struct ListReplicas<'a> {
    dids: Vec<&'a Did>,
    all_states: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rse_expression: Option<&'a RseName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schemes: Option<[&'static str; 1]>,
    /// Whether replicas at an RSE that cannot be read from at the moment are listed too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_availability: bool,
}

/// Where replicas are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anywhere {
    /// At one RSE.
    No,
    /// At all.
    Yes,
}

/// A scheme that no protocol has: with it the server builds no PFNs.
const NO_SCHEME: &str = "none";

/// Whether the places of replicas are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Places {
    Listed,
    Given,
}

impl Rucio {
    /// Registers files at an RSE, and reads them back. Answers in the order asked; sending the same
    /// again changes nothing. No two files may have the same name.
    ///
    /// # Errors
    ///
    /// Where a call fails for another reason than one of its files: some may be registered.
    pub fn add_replicas(
        &self,
        rse: &RseName,
        files: &[NewReplica],
        look: Look,
    ) -> Result<Vec<Registered>, RucioError> {
        self.add(rse, files, (look, Places::Listed))
    }

    /// The same of files that carry their PFNs, at a deterministic RSE, which refuses any other than its
    /// own: where they lie is not listed again, which takes the server longer than all the rest.
    ///
    /// # Errors
    ///
    /// As [`add_replicas`](Self::add_replicas).
    pub fn add_replicas_at(
        &self,
        rse: &RseName,
        files: &[NewReplica],
        look: Look,
    ) -> Result<Vec<Registered>, RucioError> {
        self.add(rse, files, (look, Places::Given))
    }

    fn add(
        &self,
        rse: &RseName,
        files: &[NewReplica],
        (look, places): (Look, Places),
    ) -> Result<Vec<Registered>, RucioError> {
        for file in files {
            self.schema().check(&file.did)?;
        }
        let mut answers: Vec<Option<Registered>> = vec![None; files.len()];
        if look == Look::First {
            for (answer, found) in answers.iter_mut().zip(self.find(rse, files, places)?) {
                *answer = found.map(|found| found.into_registered(Registered::Equal));
            }
        }
        let left: Vec<usize> = (0..files.len())
            .filter(|index| answers.get(*index).is_some_and(Option::is_none))
            .collect();
        let sent: Vec<&NewReplica> = left.iter().filter_map(|index| files.get(*index)).collect();
        let refused = self.in_bulk(&sent, |chunk| self.post_replicas(rse, chunk))?;
        for item in refused {
            if let Some(answer) = left.get(item.index).and_then(|at| answers.get_mut(*at)) {
                *answer = Some(Registered::Refused(item.refusal));
            }
        }
        let taken: Vec<NewReplica> = answers
            .iter()
            .zip(files)
            .filter(|(answer, _)| answer.is_none())
            .map(|(_, file)| file.clone())
            .collect();
        let waiting = answers.iter_mut().filter(|answer| answer.is_none());
        for (answer, found) in waiting.zip(self.find(rse, &taken, places)?) {
            *answer = found.map(|found| found.into_registered(Registered::Done));
        }
        Ok(answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Registered::Missing))
            .collect())
    }

    /// One call. Where nobody knows what came of it, it is read back: it is one transaction, and
    /// so whole or not at all; only what is not there is sent again.
    fn post_replicas(&self, rse: &RseName, files: &[&NewReplica]) -> Result<(), RucioError> {
        let body = AddReplicas {
            rse,
            files: files.iter().map(|file| AddReplica::of(file)).collect(),
        };
        let call = Call::new(Method::POST, "/replicas", &[]).body(&body)?;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.act(&call) {
                Err(error @ RucioError::Unknown { .. }) => {
                    let files: Vec<NewReplica> = files.iter().map(|file| (*file).clone()).collect();
                    if self
                        .find(rse, &files, Places::Given)?
                        .iter()
                        .all(Option::is_some)
                    {
                        return Ok(());
                    }
                    if tries >= 3 {
                        return Err(error);
                    }
                }
                other => return other,
            }
        }
    }

    /// What the server knows of each file at an RSE.
    fn find(
        &self,
        rse: &RseName,
        files: &[NewReplica],
        places: Places,
    ) -> Result<Vec<Option<Found>>, RucioError> {
        let mut found = Vec::with_capacity(files.len());
        for chunk in files.chunks(self.config().bulk) {
            let dids: Vec<&Did> = chunk.iter().map(|file| &file.did).collect();
            let mut listed: BTreeMap<Did, Replica> = BTreeMap::new();
            for replica in self.list(&dids, Some(rse), places)? {
                let replica = replica?;
                listed.insert(Did::new(&replica.scope, replica.name.clone()), replica);
            }
            found.extend(chunk.iter().map(|file| {
                let replica = listed.remove(&file.did)?;
                Found::of(file, rse, replica)
            }));
        }
        Ok(found)
    }

    /// The replicas of files, in every state; at one RSE or at all. Files that do not exist are left out;
    /// one that lies elsewhere is listed without any. At most as many as one bulk call takes.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn replicas(
        &self,
        dids: &[&Did],
        rse: Option<&RseName>,
    ) -> Result<Lines<Replica>, RucioError> {
        self.list(dids, rse, Places::Listed)
    }

    /// The replicas of files at an RSE, in every state, also where it is closed for reading; where they lie is not
    /// told. Files without one there may be left out. At most as many as one bulk call takes.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn replicas_at(&self, rse: &RseName, files: &[&Did]) -> Result<Lines<Replica>, RucioError> {
        let body = ListReplicas {
            dids: files.to_vec(),
            all_states: true,
            rse_expression: Some(rse),
            schemes: Some([NO_SCHEME]),
            ignore_availability: true,
        };
        let call = Call::new(Method::POST, "/replicas/list", &[]).body(&body)?;
        self.lines(&call.repeatable())
    }

    /// Those of the files that Rucio has at an RSE, in whatever state: also where the RSE is closed for
    /// reading, whose replicas are not listed otherwise. With `anywhere` the server is asked for the
    /// replicas at all RSEs: another question, to the same end.
    ///
    /// # Errors
    ///
    /// Where there is no whole answer: then nothing is known.
    pub fn had_at(
        &self,
        rse: &RseName,
        files: &[&Did],
        anywhere: Anywhere,
    ) -> Result<BTreeSet<Did>, RucioError> {
        let mut had = BTreeSet::new();
        for chunk in files.chunks(self.config().bulk) {
            let body = ListReplicas {
                dids: chunk.to_vec(),
                all_states: true,
                rse_expression: (anywhere == Anywhere::No).then_some(rse),
                schemes: Some([NO_SCHEME]),
                ignore_availability: true,
            };
            let call = Call::new(Method::POST, "/replicas/list", &[]).body(&body)?;
            for replica in self.lines::<Replica>(&call.repeatable())? {
                let replica = replica?;
                if replica.states.contains_key(rse.as_str()) {
                    had.insert(Did::new(&replica.scope, replica.name));
                }
            }
        }
        Ok(had)
    }

    /// Gives files that no rule locks at an RSE to Rucio's reaper: replicas that were registered and
    /// never came under a rule would stay for ever. The server compares it with the locks in the same
    /// statement. Returns how many it has taken.
    ///
    /// # Errors
    ///
    /// Where a call fails for another reason than one of its files.
    pub fn bury(&self, rse: &RseName, files: &[&Did]) -> Result<usize, RucioError> {
        #[derive(Serialize)]
        struct Bury<'a> {
            replicas: Vec<Buried<'a>>,
        }
        #[derive(Serialize)]
        struct Buried<'a> {
            rse: &'a RseName,
            scope: &'a Scope,
            name: &'a str,
        }
        let refused = self.in_bulk(files, |chunk| {
            let buried = chunk.iter().map(|did| Buried {
                rse,
                scope: &did.scope,
                name: &did.name,
            });
            let replicas = buried.collect();
            let call = Call::new(Method::POST, "/replicas/tombstone", &[]);
            self.act(&call.body(&Bury { replicas })?.repeatable())
        })?;
        Ok(files.len() - refused.len())
    }

    fn list(
        &self,
        dids: &[&Did],
        rse: Option<&RseName>,
        places: Places,
    ) -> Result<Lines<Replica>, RucioError> {
        let body = ListReplicas {
            dids: dids.to_vec(),
            all_states: true,
            rse_expression: rse,
            schemes: (places == Places::Given).then_some([NO_SCHEME]),
            ignore_availability: false,
        };
        let call = Call::new(Method::POST, "/replicas/list", &[])
            .body(&body)?
            .repeatable();
        self.lines(&call)
    }
}

impl<'a> AddReplica<'a> {
    fn of(file: &'a NewReplica) -> Self {
        Self {
            scope: &file.did.scope,
            name: &file.did.name,
            bytes: file.bytes,
            adler32: file.adler32.to_string(),
            md5: file.md5.map(|md5| md5.to_string()),
            pfn: file.pfn.as_deref(),
        }
    }
}

/// What the server knows of a file.
enum Found {
    Equal(Place),
    Differs(String),
}

impl Found {
    /// Listed are size and checksums of the file itself, also where it lies elsewhere alone: one that is
    /// known as another is a conflict wherever it lies.
    fn of(file: &NewReplica, rse: &RseName, mut replica: Replica) -> Option<Self> {
        if let Some(what) = difference(file, &replica) {
            return Some(Self::Differs(what));
        }
        let state = replica.states.remove(rse.as_str())?;
        let pfns = replica.rses.remove(rse.as_str()).unwrap_or_default();
        Some(Self::Equal(Place { pfns, state }))
    }

    fn into_registered(self, equal: fn(Place) -> Registered) -> Registered {
        match self {
            Self::Equal(place) => equal(place),
            Self::Differs(what) => Registered::Conflict { what },
        }
    }
}

/// What differs between a file and what the server knows of it.
fn difference(file: &NewReplica, replica: &Replica) -> Option<String> {
    let ours = [
        (
            "size",
            Some(file.bytes.to_string()),
            replica.bytes.map(|bytes| bytes.to_string()),
        ),
        (
            "adler32",
            Some(file.adler32.to_string()),
            replica.adler32.clone(),
        ),
        (
            "md5",
            file.md5.map(|md5| md5.to_string()),
            replica.md5.clone(),
        ),
    ];
    ours.into_iter().find_map(|(what, ours, theirs)| {
        let (ours, theirs) = (ours?, theirs?);
        let equal = ours.eq_ignore_ascii_case(theirs.trim());
        (!equal).then(|| format!("{what} is {theirs} in Rucio, and {ours} here"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> NewReplica {
        NewReplica {
            did: Did::new(&"hsc".parse().unwrap(), "a"),
            bytes: 7,
            adler32: "0a0b0c0d".parse().unwrap(),
            md5: None,
            pfn: None,
        }
    }

    fn replica(json: &str) -> Replica {
        let json = format!(r#"{{"scope": "hsc", "name": "a", {json}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn checksums_are_compared_as_numbers_are_written() {
        let equal = replica(r#""bytes": 7, "adler32": "0A0B0C0D", "md5": "x""#);
        assert_eq!(difference(&file(), &equal), None);
        let other = replica(r#""bytes": 7, "adler32": "0a0b0c0e", "md5": null"#);
        assert_eq!(
            difference(&file(), &other).unwrap(),
            "adler32 is 0a0b0c0e in Rucio, and 0a0b0c0d here"
        );
        let other = replica(r#""bytes": 8, "adler32": null, "md5": null"#);
        assert!(
            difference(&file(), &other)
                .unwrap()
                .starts_with("size is 8")
        );
    }
}
