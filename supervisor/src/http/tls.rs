//! TLS with a certificate and a key from files, which are read anew when they change and SIGHUP says
//! so.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::{fmt, io};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// With what the endpoint shows who it is. Without a certificate it speaks plain HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The certificate and those that lead to its authority, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

impl Config {
    /// Whether there is a certificate.
    pub fn is_on(&self) -> bool {
        *self != Self::default()
    }
}

/// A certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Only one of two files is named.
    #[error("`http.tls.cert_file` and `http.tls.key_file` belong together; one of them is empty")]
    Half,
    /// A file cannot be read.
    #[error("{} could not be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not what it should be.
    #[error("{} is not usable", .0.display())]
    Pem(PathBuf, #[source] rustls_pki_types::pem::Error),
    /// There is no certificate in it.
    #[error("{} holds no certificate", .0.display())]
    Empty(PathBuf),
    /// Others could read the key.
    #[error("{} can be read by everybody; take that away with `chmod o=`", .0.display())]
    Open(PathBuf),
    /// The two do not fit.
    #[error("the certificate and the key do not fit together")]
    Unfit(#[source] rustls::Error),
}

/// Makes connections private. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    current: Arc<Current>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("current", &self.current).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Current {
    config: Config,
    provider: Arc<CryptoProvider>,
    key: RwLock<Arc<CertifiedKey>>,
}

impl Tls {
    /// With the files of a configuration, if it names any.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, TlsError> {
        if !config.is_on() {
            return Ok(None);
        }
        let provider = Arc::new(default_provider());
        let key = RwLock::new(Arc::new(read(config, &provider)?));
        let current = Arc::new(Current { config: config.clone(), provider, key });
        let builder = ServerConfig::builder_with_provider(Arc::clone(&current.provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Unfit)?;
        let mut server =
            builder.with_no_client_auth().with_cert_resolver(Arc::<Current>::clone(&current));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Some(Self { acceptor: TlsAcceptor::from(Arc::new(server)), current }))
    }

    /// Reads the files anew. If that fails, those before stay.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let key = read(&self.current.config, &self.current.provider)?;
        *self.current.key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
        Ok(())
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.key.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn read(config: &Config, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let Config { cert_file, key_file } = config;
    if cert_file.as_os_str().is_empty() || key_file.as_os_str().is_empty() {
        return Err(TlsError::Half);
    }
    let unreadable = |path: &Path, error| TlsError::Read(path.to_owned(), error);
    let pem = std::fs::read(cert_file).map_err(|error| unreadable(cert_file, error))?;
    let unusable = |path: &Path, error| TlsError::Pem(path.to_owned(), error);
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| unusable(cert_file, error))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert_file.clone()));
    }
    let metadata = std::fs::metadata(key_file).map_err(|error| unreadable(key_file, error))?;
    if metadata.mode() & 0o007 != 0 {
        return Err(TlsError::Open(key_file.clone()));
    }
    let pem = std::fs::read(key_file).map_err(|error| unreadable(key_file, error))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(key_file, error))?;
    CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Unfit)
}
