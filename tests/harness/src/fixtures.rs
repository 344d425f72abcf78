//! What a test finds in Rucio: scopes, accounts, RSEs, files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use md5::{Digest, Md5};
use serde_json::json;

use crate::certificates::Certificate;
use crate::rucio::Rucio;
use crate::scratch;

/// How an RSE names the files that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Deterministic: `<prefix>/<scope>/<name>`.
    Identity,
    /// Deterministic: two levels of folders from an MD5 between scope and name.
    Hash,
    /// Not deterministic: every replica has the path that it was registered with.
    NonDeterministic,
}

/// An RSE whose storage is a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rse {
    /// Its name.
    pub name: String,
    /// How it names files.
    pub naming: Naming,
    /// The folder that all its files are below.
    pub prefix: PathBuf,
}

impl Rse {
    /// Where a file of a deterministic RSE is. Where one of another RSE would be if it were named by
    /// identity.
    pub fn path(&self, scope: &str, name: &str) -> PathBuf {
        let below = match self.naming {
            Naming::Identity | Naming::NonDeterministic => format!("{scope}/{name}"),
            Naming::Hash => {
                let hash: [u8; 16] = Md5::digest(format!("{scope}:{name}")).into();
                let [first, second, ..] = hash;
                format!("{scope}/{first:02x}/{second:02x}/{name}")
            }
        };
        self.prefix.join(below)
    }

    /// The URL under which Rucio knows the file at a path.
    pub fn pfn(&self, path: &Path) -> String {
        format!("file://localhost{}", path.display())
    }
}

impl Rucio {
    /// Makes an RSE whose files are below `prefix`, or below a folder of the harness. Root may put
    /// there what it likes, and transfers go to and from every RSE that this harness has.
    ///
    /// With [`Naming::Identity`] a file `<scope>:<name>` is `<prefix>/<scope>/<name>`: a datastore's
    /// root folder `<prefix>/<scope>` holds a scope.
    pub fn add_rse(&self, name: &str, naming: Naming, prefix: Option<&Path>) -> Result<Rse> {
        let prefix = match prefix {
            Some(prefix) => prefix.to_path_buf(),
            None => self.folder().join("rse").join(name),
        };
        scratch::make_folder(&prefix)?;
        let others = self.rses()?;
        let deterministic = naming != Naming::NonDeterministic;
        self.must(
            "POST",
            &format!("/rses/{name}"),
            Some(&json!({"deterministic": deterministic, "volatile": false})),
        )?;
        let rights = json!({"read": 1, "write": 1, "delete": 1});
        let wan = json!({
            "read": 1, "write": 1, "delete": 1,
            "third_party_copy_read": 1, "third_party_copy_write": 1,
        });
        self.must(
            "POST",
            &format!("/rses/{name}/protocols/file"),
            Some(&json!({
                "hostname": "localhost",
                "port": 0,
                "prefix": format!("{}/", prefix.display()),
                "impl": "rucio.rse.protocols.posix.Default",
                "domains": {"lan": rights, "wan": wan},
            })),
        )?;
        if naming == Naming::Identity {
            self.set_rse_attribute(name, "lfn2pfn_algorithm", "identity")?;
        }
        if let Ok(url) = self.transfers_url() {
            self.set_rse_attribute(name, "fts", &url)?;
        }
        for other in others {
            for (from, to) in [(name, other.as_str()), (other.as_str(), name)] {
                self.must(
                    "POST",
                    &format!("/rses/{from}/distances/{to}"),
                    Some(&json!({"distance": 1})),
                )?;
            }
        }
        self.set_limit(Self::ACCOUNT, name, None)?;
        Ok(Rse {
            name: name.to_owned(),
            naming,
            prefix,
        })
    }

    /// Gives an RSE an attribute.
    pub fn set_rse_attribute(&self, rse: &str, key: &str, value: &str) -> Result<()> {
        let path = format!("/rses/{rse}/attr/{key}");
        self.must("POST", &path, Some(&json!({"value": value})))?;
        Ok(())
    }

    /// Makes a scope that belongs to an account.
    pub fn add_scope(&self, account: &str, scope: &str) -> Result<()> {
        self.must("POST", &format!("/scopes/{account}/{scope}"), None)?;
        Ok(())
    }

    /// Makes an account of a service that logs in with name and password. Under Rucio's generic
    /// policy only an `admin` may add replicas, and only `root` may declare bad ones.
    pub fn add_account(
        &self,
        account: &str,
        (username, password): (&str, &str),
        admin: bool,
    ) -> Result<()> {
        let email = format!("{account}@localhost");
        self.must(
            "POST",
            &format!("/accounts/{account}"),
            Some(&json!({"type": "SERVICE", "email": email})),
        )?;
        self.must(
            "POST",
            &format!("/accounts/{account}/identities"),
            Some(&json!({
                "identity": username, "authtype": "USERPASS",
                "email": email, "password": password,
            })),
        )?;
        if admin {
            // Rucio compares it with this very text.
            self.must(
                "POST",
                &format!("/accounts/{account}/attr/admin"),
                Some(&json!({"key": "admin", "value": "True"})),
            )?;
        }
        Ok(())
    }

    /// Lets the owner of a certificate log in to an account.
    pub fn add_certificate(&self, account: &str, certificate: &Certificate) -> Result<()> {
        self.add_identity(account, "X509", &certificate.subject)
    }

    /// Lets the bearer of a token for `subject` act as an account.
    pub fn add_token_subject(&self, account: &str, subject: &str) -> Result<()> {
        let issuer = self.issuer_url()?;
        self.add_identity(account, "OIDC", &format!("SUB={subject}, ISS={issuer}"))
    }

    fn add_identity(&self, account: &str, kind: &str, identity: &str) -> Result<()> {
        self.must(
            "POST",
            &format!("/accounts/{account}/identities"),
            Some(&json!({
                "identity": identity, "authtype": kind,
                "email": format!("{account}@localhost"), "default": true,
            })),
        )?;
        Ok(())
    }

    /// How much an account may have locked on an RSE: without a limit set its rules are refused;
    /// `None` is no limit.
    pub fn set_limit(&self, account: &str, rse: &str, bytes: Option<u64>) -> Result<()> {
        let bytes = match bytes {
            Some(bytes) => i64::try_from(bytes).context("more than Rucio can count")?,
            None => -1,
        };
        self.must(
            "POST",
            &format!("/accounts/{account}/limits/local/{rse}"),
            Some(&json!({"bytes": bytes})),
        )?;
        Ok(())
    }

    /// Writes a file to an RSE's storage and registers it as a replica there.
    pub fn add_file(&self, rse: &Rse, scope: &str, name: &str, bytes: &[u8]) -> Result<PathBuf> {
        let path = rse.path(scope, name);
        scratch::write(&path, bytes)?;
        let mut file = json!({
            "scope": scope, "name": name, "bytes": bytes.len(), "adler32": adler32(bytes),
        });
        if rse.naming == Naming::NonDeterministic
            && let Some(file) = file.as_object_mut()
        {
            file.insert("pfn".to_owned(), rse.pfn(&path).into());
        }
        let body = json!({"rse": rse.name, "files": [file]});
        self.must("POST", "/replicas", Some(&body))?;
        Ok(path)
    }

    /// Makes a rule: so many copies of a DID on the RSEs of an expression. Rucio tells what becomes of
    /// it by messages. Returns the rule's ID.
    pub fn add_rule(&self, scope: &str, name: &str, copies: u32, rses: &str) -> Result<String> {
        let rule = json!({
            "account": Self::ACCOUNT, "dids": [{"scope": scope, "name": name}],
            "copies": copies, "rse_expression": rses, "grouping": "DATASET",
            "notify": "Y",
        });
        let rules = self.must("POST", "/rules/", Some(&rule))?.json()?;
        let rule = rules.get(0).and_then(|rule| rule.as_str());
        rule.map(str::to_owned)
            .with_context(|| format!("no rule came of it: {rules}"))
    }

    /// Ends a rule with the next cycle of the cleaner, and gives what it protected to the reaper.
    pub fn end_rule(&self, rule: &str) -> Result<()> {
        for options in [json!({"purge_replicas": true}), json!({"lifetime": -1})] {
            let options = json!({"options": options});
            self.must("PUT", &format!("/rules/{rule}"), Some(&options))?;
        }
        Ok(())
    }

    /// The state of a file's replica at an RSE, such as `AVAILABLE`; `None` where there is none.
    pub fn replica_state(&self, scope: &str, name: &str, rse: &str) -> Result<Option<String>> {
        let body = json!({"dids": [{"scope": scope, "name": name}], "all_states": true});
        let found = self.must("POST", "/replicas/list", Some(&body))?.json()?;
        let state = found.pointer(&format!("/0/states/{rse}"));
        Ok(state.and_then(|state| state.as_str()).map(str::to_owned))
    }

    /// The names of all RSEs.
    fn rses(&self) -> Result<Vec<String>> {
        let rses = self.must("GET", "/rses/", None)?.json()?;
        let names = rses.as_array().into_iter().flatten();
        Ok(names
            .filter_map(|rse| rse.get("rse")?.as_str())
            .map(str::to_owned)
            .collect())
    }
}

/// A checksum as Rucio writes it.
pub(crate) fn adler32(bytes: &[u8]) -> String {
    format!("{:08x}", simd_adler32::adler32(&bytes))
}
