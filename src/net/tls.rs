//! TLS: who is trusted by links that we dial, who we are on those that we accept, and the pump between a rustls
//! connection and its socket. Certificates are always verified; there is no way to plain text from here.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, ClientConfig, Connection as Tls, RootCertStore, ServerConfig};

use crate::net::ReadOutcome;

/// The trusted authorities: the public roots, and perhaps one more.
#[derive(Clone)]
pub struct Trust {
    pub(super) config: Arc<ClientConfig>,
    pub(super) extra: Arc<[CertificateDer<'static>]>,
}

impl Trust {
    /// The public web roots, and the certificates in the PEM file `extra` if there is one. TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// A sentence about the file: unreadable, without a certificate, or not usable as an authority.
    pub fn new(extra: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let extra = extra.map_or(Ok(Vec::new()), read_authorities)?;
        for certificate in &extra {
            roots.add(certificate.clone()).map_err(|e| format!("a certificate is not usable as an authority: {e}"))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), extra: extra.into() })
    }
}

/// Our certificate and its key, which clients see.
#[derive(Clone)]
pub(crate) struct ServerIdentity(Arc<ServerConfig>);

impl ServerIdentity {
    /// A certificate in DER, and its private key in PKCS #8. TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// A sentence about what is wrong with them.
    pub fn new(certificate: Vec<u8>, key: Vec<u8>) -> Result<Self, String> {
        let key = PrivateKeyDer::Pkcs8(key.into());
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(certificate)], key)
            .map_err(|e| e.to_string())?;
        Ok(Self(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

fn read_authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |why: String| format!("{}: {why}", path.display());
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|e| wrong(e.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong("no certificate in it".to_owned()));
    }
    Ok(certificates)
}

/// A short name for what was wrong with the other end, for logs and counters; `None` when `error` is
/// not about TLS.
#[must_use]
pub fn reason(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "certificate expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "certificate not valid yet",
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                "certificate for another name"
            }
            CertificateError::UnknownIssuer => "certificate of an unknown issuer",
            _ => "certificate refused",
        },
        rustls::Error::PeerIncompatible(_) => "no common TLS version or cipher",
        rustls::Error::AlertReceived(_) => "refused by the peer",
        _ => "broken TLS",
    })
}

/// What [`feed`] found.
pub(super) enum Fed {
    /// Bytes; there may be plain text now.
    Some,
    /// Nothing now.
    Blocked,
    /// The end of the TCP stream.
    End,
}

/// Moves bytes from the socket into TLS.
pub(super) fn feed(tls: &mut Tls, tcp: &mut TcpStream) -> io::Result<Fed> {
    loop {
        match tls.read_tls(tcp) {
            Ok(0) => return Ok(Fed::End),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Fed::Blocked),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if let Err(error) = tls.process_new_packets() {
        // The alert for the peer; the connection is over either way.
        let _ = flush(tls, tcp);
        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
    }
    Ok(Fed::Some)
}

/// Reads plain text; answers what TLS itself must answer.
pub(super) fn read(tls: &mut Tls, tcp: &mut TcpStream, buffer: &mut [u8]) -> io::Result<ReadOutcome> {
    loop {
        match tls.reader().read(buffer) {
            // Only after a close_notify; without one it is an error.
            Ok(0) => return Ok(ReadOutcome::End),
            Ok(length) => return Ok(ReadOutcome::Bytes(length)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        // After the end of the stream, the reader above reports which end it was.
        if matches!(feed(tls, tcp)?, Fed::Blocked) {
            flush(tls, tcp)?;
            return Ok(ReadOutcome::Blocked);
        }
    }
}

/// Writes TLS's own output to the socket. `true` when nothing is left.
pub(super) fn flush(tls: &mut Tls, tcp: &mut TcpStream) -> io::Result<bool> {
    while tls.wants_write() {
        match tls.write_tls(tcp) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
