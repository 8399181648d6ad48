//! Connections that nobody listens in on.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::config::{Config, ConfigError};

/// What accepts connections, if there are a certificate and a key.
///
/// # Errors
/// When one of their files cannot be read or used.
pub(crate) fn acceptor(config: &Config) -> Result<Option<TlsAcceptor>, ConfigError> {
    let (cert, key) = (&config.tls_cert, &config.tls_key);
    if cert.is_empty() {
        return Ok(None);
    }
    let unreadable = |name: &str, path: &str, error: &dyn std::fmt::Display| {
        ConfigError::new(format!("{name}: {path}: {error}; expected PEM"))
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unreadable("tls_cert", cert, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable("tls_key", key, &error))?;
    let unusable = |error: rustls::Error| ConfigError::new(format!("tls_cert and tls_key: {error}"));
    let mut server = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(server))))
}
