//! Certificates for tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority of this test run. What it issues is good until the year 4096, as the
/// certificates of the `rcgen` crate are.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

impl Authority {
    /// A new authority with a key of its own.
    ///
    /// # Panics
    /// When the key can't be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // OpenSSL takes a certificate whose subject is its issuer's for a self-signed one.
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "test authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key"))
            .expect("a self-signed certificate");
        Self { issuer }
    }

    /// The authority's own certificate, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `names` (host names or addresses) and its key, both as PEM.
    ///
    /// # Panics
    /// When a name can't stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::new(names)
            .expect("names of a certificate")
            .signed_by(&key, &self.issuer)
            .expect("a signature");
        (certificate.pem(), key.serialize_pem())
    }

    /// Issues for `names` and writes `NAME.cert.pem` and `NAME.key.pem` into `directory`, NAME
    /// being the first name. Gives both paths.
    ///
    /// # Panics
    /// When a file can't be written.
    pub fn write(&self, directory: &Path, names: &[&str]) -> (PathBuf, PathBuf) {
        let first = names.first().expect("at least one name");
        let (certificate, key) = self.issue(names);
        let certificate_path = directory.join(format!("{first}.cert.pem"));
        let key_path = directory.join(format!("{first}.key.pem"));
        std::fs::write(&certificate_path, certificate).expect("the certificate's file");
        std::fs::write(&key_path, key).expect("the key's file");
        (certificate_path, key_path)
    }

    /// What a TLS server of `names` needs.
    ///
    /// # Panics
    /// When a name can't stand in a certificate.
    pub fn server(&self, names: &[&str]) -> Arc<ServerConfig> {
        let (certificate, key) = self.issue(names);
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM");
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate and its key");
        Arc::new(config)
    }

    /// What a TLS client needs that trusts this authority and nobody else.
    ///
    /// # Panics
    /// Never in practice.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}
