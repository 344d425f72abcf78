//! An authority of the harness's own, and the certificates that it signs.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::scratch;

/// Who owns the certificates, beside a name of each.
const ORGANISATION: &str = "runsync";

/// A certificate with its key, in files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Its owner's name as Rucio has it: the identity of an account.
    pub subject: String,
}

/// Signs certificates.
pub(crate) struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes one whose files are in `folder`.
    pub(crate) fn new(folder: &Path) -> Result<Self> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params("authority", &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).context("cannot sign")?;
        let authority = Self {
            folder: folder.to_path_buf(),
            issuer: Issuer::new(params, key),
        };
        scratch::write(&authority.certificate(), certificate.pem().as_bytes())?;
        Ok(authority)
    }

    /// Its own certificate, which its clients trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("authority.pem")
    }

    /// Makes a certificate for a server with these names.
    pub(crate) fn server(&self, names: &[&str]) -> Result<Certificate> {
        self.sign("server", names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Makes a certificate for a client.
    pub(crate) fn client(&self, name: &str) -> Result<Certificate> {
        self.sign(name, &[], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        name: &str,
        names: &[&str],
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Certificate> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let mut params = params(name, names)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let signed = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign")?;
        let certificate = Certificate {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
            subject: format!("/O={ORGANISATION}/CN={name}"),
        };
        scratch::write(&certificate.certificate, signed.pem().as_bytes())?;
        scratch::write(&certificate.key, key.serialize_pem().as_bytes())?;
        Ok(certificate)
    }
}

fn params(name: &str, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).context("a name that is none")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let subject = &mut params.distinguished_name;
    subject.push(DnType::OrganizationName, ORGANISATION);
    subject.push(DnType::CommonName, name);
    Ok(params)
}
