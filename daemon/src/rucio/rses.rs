//! RSEs: what they are, and where they put files.

use std::collections::BTreeMap;

use runsync_manifest::name::RseName;
use serde::Deserialize;

use super::client::{Call, Rucio};
use super::did::Did;
use super::error::RucioError;
use super::exception::Exception;

/// Longest query of names: gunicorn reads request lines of 4,094 bytes, and the rest needs some.
const NAMES_BYTES_MAX: usize = 3_000;

/// An RSE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Rse {
    /// Its name.
    pub rse: String,
    /// Whether a file's PFN follows from its name.
    pub deterministic: bool,
    /// Whether it takes files.
    pub availability_write: bool,
    /// Whether its files may vanish without Rucio's doing.
    pub volatile: bool,
    /// How it is reached.
    pub protocols: Vec<Protocol>,
}

/// One way to reach an RSE.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Protocol {
    /// Such as `davs`.
    pub scheme: String,
    /// The host.
    pub hostname: String,
    /// The port; 0: the scheme's own.
    pub port: u32,
    /// The folder in which everything lies.
    pub prefix: String,
}

impl Protocol {
    /// What all PFNs begin with, ending in `/`: as Rucio's protocols build them
    /// (`rucio/rse/protocols/protocol.py`, `RSEDeterministicTranslation`).
    pub fn pfn_prefix(&self) -> String {
        let Self {
            scheme,
            hostname,
            port,
            prefix,
        } = self;
        let port = match port {
            0 => String::new(),
            port => format!(":{port}"),
        };
        let prefix = prefix.trim_matches('/');
        let slash = if prefix.is_empty() { "" } else { "/" };
        format!("{scheme}://{hostname}{port}/{prefix}{slash}")
    }
}

impl Rucio {
    /// An RSE; `None` where there is none of that name.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn rse(&self, name: &RseName) -> Result<Option<Rse>, RucioError> {
        self.schema().check_rse(name.as_str())?;
        match self.ask(&Call::get("/rses", &[name.as_str()])) {
            Ok(rse) => Ok(Some(rse)),
            Err(error) if error.is(&Exception::RseNotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The attributes of an RSE.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn rse_attributes(
        &self,
        name: &RseName,
    ) -> Result<BTreeMap<String, serde_json::Value>, RucioError> {
        self.ask(&Call::get("/rses", &[name.as_str(), "attr", ""]))
    }

    /// The names of the RSEs that an expression means, in order; none where it means none.
    ///
    /// # Errors
    ///
    /// [`Exception::InvalidRseExpression`] where it is no expression.
    pub fn rses(&self, expression: &str) -> Result<Vec<RseName>, RucioError> {
        #[derive(Deserialize)]
        struct Listed {
            rse: RseName,
        }
        let call = Call::get("/rses/", &[]).query("expression", expression);
        let mut names = Vec::new();
        match self.lines::<Listed>(&call) {
            Ok(lines) => {
                for listed in lines {
                    names.push(listed?.rse);
                }
            }
            Err(error) if is_empty_set(&error) => {}
            Err(error) => return Err(error),
        }
        names.sort();
        Ok(names)
    }

    /// Where an RSE puts files, written over one scheme. Meant for a few: the names travel in the
    /// request's line.
    ///
    /// # Errors
    ///
    /// Where there is no answer.
    pub fn pfns(
        &self,
        rse: &RseName,
        dids: &[Did],
    ) -> Result<BTreeMap<String, String>, RucioError> {
        let mut pfns = BTreeMap::new();
        let mut rest = dids;
        while !rest.is_empty() {
            let mut call = Call::get("/rses", &[rse.as_str()]).query("operation", "write");
            call.push("lfns2pfns");
            let (mut bytes, mut taken) = (0, 0);
            for did in rest {
                let lfn = did.to_string();
                bytes += 3 * lfn.len();
                if taken > 0 && bytes > NAMES_BYTES_MAX {
                    break;
                }
                call = call.query("lfn", lfn);
                taken += 1;
            }
            pfns.extend(self.ask::<BTreeMap<String, String>>(&call)?);
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(pfns)
    }
}

/// An expression that means no RSE is refused in the same words as one that is none.
fn is_empty_set(error: &RucioError) -> bool {
    error.is(&Exception::InvalidRseExpression)
        && error
            .refusal()
            .is_some_and(|refusal| refusal.message.contains("empty set"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pfns_begin_with_scheme_host_port_and_prefix() {
        let prefix = |scheme: &str, hostname: &str, port, prefix: &str| {
            let protocol = Protocol {
                scheme: scheme.to_owned(),
                hostname: hostname.to_owned(),
                port,
                prefix: prefix.to_owned(),
            };
            protocol.pfn_prefix()
        };
        assert_eq!(
            prefix("file", "localhost", 0, "/data/a"),
            "file://localhost/data/a/"
        );
        assert_eq!(
            prefix("davs", "h", 443, "/store/rucio/"),
            "davs://h:443/store/rucio/"
        );
        assert_eq!(prefix("root", "h", 1094, "//"), "root://h:1094/");
    }
}
