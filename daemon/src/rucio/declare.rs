//! Declares replicas whose files are damaged or gone.
//!
//! Rucio counts how often a replica is declared suspicious, and leaves it what it is; a bad one is no
//! source any more, and is copied anew from another, or given up as lost where it was the last. The server
//! answers 201 to both whatever it has done: what it has not done stands in the answer.
//!
//! Suspicious ones are named by PFNs, out of which the server's policy makes DIDs: at a deterministic RSE
//! its default (`rucio/rse/translation.py`) takes what stands behind the last slash for the name. A
//! file of which that is the name, if there is one, must not be declared for another.

use std::collections::BTreeMap;

use reqwest::Method;
use runsync_manifest::name::{RseName, Scope};
use serde::Serialize;

use super::client::{Call, Rucio};
use super::did::Did;
use super::error::RucioError;
use super::replicas::Anywhere;

/// What the answer says of a bad replica that was declared before.
const ALREADY: &str = "Already declared";

/// A replica to declare, and its PFN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The file.
    pub did: Did,
    /// One of its PFNs at the RSE.
    pub pfn: String,
}

impl Suspect {
    /// The DID that the server may take its PFN for; none where that is its own.
    fn mistaken_for(&self) -> Option<Did> {
        let (_, last) = self.did.name.rsplit_once('/')?;
        Some(Did {
            scope: self.did.scope.clone(),
            name: last.to_owned(),
        })
    }

    /// What an answer says of it.
    fn told_by<'a>(&self, answer: &'a BTreeMap<String, Vec<String>>) -> Option<&'a str> {
        let (own, pfn) = (format!("{} ", self.did), format!("{} ", self.pfn));
        let name = format!("'{}')", self.did.name);
        let last = self.mistaken_for().map(|did| format!("'{}')", did.name));
        let mut lines = answer.values().flatten().map(String::as_str);
        lines.find(|line| {
            line.starts_with(&own)
                || line.starts_with(&pfn)
                || line.contains(&name)
                || last.as_ref().is_some_and(|last| line.contains(last))
        })
    }
}

impl Rucio {
    /// Declares replicas at an RSE suspicious; answers for each why it was not, in the order asked.
    ///
    /// # Errors
    ///
    /// Where a call fails: some may be declared. One that got no answer is not sent again, for each
    /// counts.
    pub fn declare_suspicious(
        &self,
        rse: &RseName,
        suspects: &[Suspect],
        reason: &str,
    ) -> Result<Vec<Option<String>>, RucioError> {
        #[derive(Serialize)]
        struct Declare<'a> {
            pfns: Vec<&'a str>,
            reason: &'a str,
        }
        let mistaken: Vec<Did> = suspects.iter().filter_map(Suspect::mistaken_for).collect();
        let others = self.had_at(rse, &mistaken.iter().collect::<Vec<_>>(), Anywhere::No)?;
        let is_clear = |suspect: &Suspect| {
            let mistaken = suspect.mistaken_for();
            mistaken.is_none_or(|did| !others.contains(&did))
        };
        let mut told = Vec::with_capacity(suspects.len());
        for chunk in suspects.chunks(self.config().bulk) {
            let clear = chunk.iter().filter(|suspect| is_clear(suspect));
            let pfns: Vec<&str> = clear.map(|suspect| suspect.pfn.as_str()).collect();
            let answer = if pfns.is_empty() {
                BTreeMap::new()
            } else {
                let call = Call::new(Method::POST, "/replicas/suspicious", &[]);
                self.ask(&call.body(&Declare { pfns, reason })?)?
            };
            told.extend(chunk.iter().map(|suspect| {
                if is_clear(suspect) {
                    suspect.told_by(&answer).map(str::to_owned)
                } else {
                    Some("the server may take its PFN for another file's".to_owned())
                }
            }));
        }
        Ok(told)
    }

    /// Declares replicas at an RSE bad; answers for each why it was not, in the order asked. Doing it
    /// again changes nothing.
    ///
    /// # Errors
    ///
    /// [`Exception::AccessDenied`](super::Exception::AccessDenied) where the account may not; where a call
    /// fails some may be declared.
    pub fn declare_bad(
        &self,
        rse: &RseName,
        suspects: &[Suspect],
        reason: &str,
    ) -> Result<Vec<Option<String>>, RucioError> {
        #[derive(Serialize)]
        struct Declare<'a> {
            replicas: Vec<Bad<'a>>,
            reason: &'a str,
        }
        #[derive(Serialize)]
        struct Bad<'a> {
            scope: &'a Scope,
            name: &'a str,
            rse: &'a RseName,
        }
        let mut told = Vec::with_capacity(suspects.len());
        for chunk in suspects.chunks(self.config().bulk) {
            let replicas = chunk.iter().map(|Suspect { did, .. }| Bad {
                scope: &did.scope,
                name: &did.name,
                rse,
            });
            let replicas = replicas.collect();
            let call = Call::new(Method::POST, "/replicas/bad", &[]);
            let call = call.body(&Declare { replicas, reason })?.repeatable();
            let answer: BTreeMap<String, Vec<String>> = self.ask(&call)?;
            told.extend(chunk.iter().map(|suspect| {
                let line = suspect.told_by(&answer);
                line.filter(|line| !line.ends_with(ALREADY))
                    .map(str::to_owned)
            }));
        }
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_of_the_servers_answer_is_told_of_its_own_file() {
        let suspect = |name: &str| Suspect {
            did: Did::new(&"cms".parse().unwrap(), name),
            pfn: format!("file://localhost/data/cms/{name}"),
        };
        let answer = BTreeMap::from([(
            "SITE_B".to_owned(),
            [
                "cms:r0 Already declared",
                "(cms, 'u/unknown') Unknown replica",
                "(cms, 'last') Unknown replica",
                "file://localhost/data/cms/u/r2 Unknown replica",
            ]
            .map(str::to_owned)
            .to_vec(),
        )]);
        for (name, expected) in [
            ("r0", Some("cms:r0 Already declared")),
            ("u/unknown", Some("(cms, 'u/unknown') Unknown replica")),
            ("u/last", Some("(cms, 'last') Unknown replica")),
            (
                "u/r2",
                Some("file://localhost/data/cms/u/r2 Unknown replica"),
            ),
            ("r", None),
            ("u/r", None),
        ] {
            assert_eq!(suspect(name).told_by(&answer), expected, "{name}");
        }
    }
}
