//! Rucio datasets and containers: made, filled, closed, listed.

use reqwest::Method;
use runsync_manifest::name::Scope;
use serde::{Deserialize, Serialize};

use super::client::{Call, Rucio};
use super::did::{Did, DidKind};
use super::error::RucioError;
use super::exception::Exception;
use super::lines::Lines;

/// How often a write that got no answer is read back and sent again.
const UNKNOWN_TRIES: u32 = 3;

/// What the server knows of a data identifier.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DidStatus {
    /// What it stands for.
    #[serde(rename = "type")]
    pub kind: DidKind,
    /// Whether more may be attached; none for a file.
    #[serde(default)]
    pub open: Option<bool>,
    /// The account that made it.
    pub account: String,
    /// Sum of the sizes of its files, where that was asked for.
    #[serde(default)]
    pub bytes: Option<f64>,
    /// Number of its files, where that was asked for.
    #[serde(default)]
    pub length: Option<u64>,
}

/// Something attached to a Rucio dataset or a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Content {
    /// Its scope.
    pub scope: Scope,
    /// Its name.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: DidKind,
    /// Its size in bytes.
    pub bytes: Option<u64>,
    /// Its Adler-32 checksum in hexadecimal.
    pub adler32: Option<String>,
    /// Its MD5 checksum in hexadecimal.
    pub md5: Option<String>,
}

#[derive(Serialize)]
struct NewCollection<'a> {
    scope: &'a Scope,
    name: &'a str,
    #[serde(rename = "type")]
    kind: DidKind,
}

#[derive(Serialize)]
struct Attachments<'a> {
    attachments: [Attachment<'a>; 1],
    ignore_duplicate: bool,
}

#[derive(Serialize)]
struct Attachment<'a> {
    scope: &'a Scope,
    name: &'a str,
    dids: &'a [&'a Did],
}

impl Rucio {
    /// Makes a Rucio dataset or a container, or finds that it is there. True where this made it.
    ///
    /// # Errors
    ///
    /// [`Exception::DataIdentifierAlreadyExists`] where something else has that name.
    pub fn make(&self, did: &Did, kind: DidKind) -> Result<bool, RucioError> {
        self.schema().check(did)?;
        let body = [NewCollection {
            scope: &did.scope,
            name: &did.name,
            kind,
        }];
        let call = Call::new(Method::POST, "/dids", &[])
            .body(&body)?
            .repeatable();
        let error = match self.act(&call) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        if !error.is(&Exception::DataIdentifierAlreadyExists) {
            return Err(error);
        }
        match self.did(did)? {
            Some(there) if there.kind == kind => Ok(false),
            _ => Err(error),
        }
    }

    /// What the server knows of a data identifier; `None` where there is none.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn did(&self, did: &Did) -> Result<Option<DidStatus>, RucioError> {
        self.find_did(&Call::get("/dids", &[did.scope.as_str(), &did.name]))
    }

    /// The same, with number and sizes of its files counted now.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn did_counted(&self, did: &Did) -> Result<Option<DidStatus>, RucioError> {
        let call = Call::get("/dids", &[did.scope.as_str(), &did.name]);
        self.find_did(&call.query("dynamic_depth", "FILE"))
    }

    fn find_did(&self, call: &Call) -> Result<Option<DidStatus>, RucioError> {
        match self.ask(call) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is(&Exception::DataIdentifierNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Attaches to a Rucio dataset or a container. What is attached already stays so.
    ///
    /// # Errors
    ///
    /// [`Exception::DataIdentifierNotFound`] where one of them is not there,
    /// [`Exception::UnsupportedOperation`] where the parent is closed: some may be attached.
    pub fn attach(&self, parent: &Did, children: &[&Did]) -> Result<(), RucioError> {
        for chunk in children.chunks(self.config().bulk) {
            let body = Attachments {
                attachments: [Attachment {
                    scope: &parent.scope,
                    name: &parent.name,
                    dids: chunk,
                }],
                ignore_duplicate: true,
            };
            // Repeatable: duplicates are ignored.
            let call = Call::new(Method::POST, "/dids/attachments", &[]).body(&body)?;
            self.act(&call.repeatable())?;
        }
        Ok(())
    }

    /// Detaches one from a Rucio dataset or a container, also from a closed one. True where it was
    /// attached.
    ///
    /// # Errors
    ///
    /// Where that does not go.
    pub fn detach(&self, parent: &Did, child: &Did) -> Result<bool, RucioError> {
        #[derive(Serialize)]
        struct Detach<'a> {
            dids: [&'a Did; 1],
        }
        let parts = [parent.scope.as_str(), &parent.name];
        let mut call =
            Call::new(Method::DELETE, "/dids", &parts).body(&Detach { dids: [child] })?;
        call.push("dids");
        match self.act(&call.repeatable()) {
            Ok(()) => Ok(true),
            Err(error) if error.is(&Exception::DataIdentifierNotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Closes a Rucio dataset or a container; one that is closed stays so.
    ///
    /// # Errors
    ///
    /// Where that does not go.
    pub fn close(&self, did: &Did) -> Result<(), RucioError> {
        #[derive(Serialize)]
        struct Status {
            open: bool,
        }
        let is_closed = || {
            let status = self.did(did)?;
            Ok::<_, RucioError>(status.is_some_and(|status| status.open == Some(false)))
        };
        for tried in 1.. {
            // A closed one cannot be closed.
            if is_closed()? {
                return Ok(());
            }
            let parts = [did.scope.as_str(), &did.name];
            let mut call = Call::new(Method::PUT, "/dids", &parts).body(&Status { open: false })?;
            call.push("status");
            match self.act(&call) {
                Err(RucioError::Unknown { .. }) if tried < UNKNOWN_TRIES => {}
                // Closed meanwhile: by a call whose answer did not come, or by somebody else.
                Err(error) if error.is(&Exception::UnsupportedOperation) => {
                    return if is_closed()? { Ok(()) } else { Err(error) };
                }
                other => return other,
            }
        }
        Ok(())
    }

    /// What is attached to a Rucio dataset or a container, in no order.
    ///
    /// # Errors
    ///
    /// [`Exception::DataIdentifierNotFound`] where it is not there.
    pub fn contents(&self, did: &Did) -> Result<Lines<Content>, RucioError> {
        let mut call = Call::get("/dids", &[did.scope.as_str(), &did.name]);
        call.push("dids");
        self.lines(&call)
    }

    /// The names of all files in a scope, wherever their replicas are, in no order.
    ///
    /// `GET /dids/{scope}/dids/search` (`rucio/web/rest/flaskapi/v1/dids.py`).
    ///
    /// # Errors
    ///
    /// Where there is no whole answer: then nothing is known.
    pub fn files_in(&self, scope: &Scope) -> Result<Lines<String>, RucioError> {
        let mut call = Call::get("/dids", &[scope.as_str()]);
        call.push("dids");
        call.push("search");
        self.lines(&call.query("type", "file").query("long", "0"))
    }
}
