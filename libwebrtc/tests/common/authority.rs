//! A certificate authority for one test, as a company has one on its own premises.
#![allow(clippy::unwrap_used)] // That is how a test fails.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::turn_server::Certificate;

/// The authority, with the file that names it to those who are to trust it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

/// A certificate of the authority and its key, as files.
pub struct Certified {
    chain: PathBuf,
    key: PathBuf,
    _directory: TempDir,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("authority.pem"), issuer.pem()).unwrap();
        Self { issuer, directory }
    }

    pub fn file(&self) -> PathBuf {
        self.directory.path().join("authority.pem")
    }

    /// A certificate for a server of these names or addresses.
    pub fn certify(&self, names: &[&str]) -> Certified {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let written = |name: &str, text: String| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        Certified {
            chain: written("chain.pem", certificate.pem()),
            key: written("key.pem", key.serialize_pem()),
            _directory: directory,
        }
    }
}

impl Certified {
    pub fn files(&self) -> Certificate<'_> {
        let (chain, key): (&Path, &Path) = (&self.chain, &self.key);
        Certificate { chain, key }
    }
}
