//! The simulator's certificate authority and the certificates that it signs: a valid one, an expired one, and one for
//! another name. Created at each start; the keys never leave the process.

use std::net::IpAddr;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

use crate::net::tls::ServerIdentity;
use crate::sim::scenario::FaultKind;

/// The certificates that the simulator presents to TLS clients.
pub struct Certificates {
    authority: String,
    good: ServerIdentity,
    expired: ServerIdentity,
    other: ServerIdentity,
}

/// The file that `sim --tls DIR` writes: the certificate of the authority, for `ca_file` in a configuration.
pub(crate) const CA_FILE: &str = "ca.pem";

impl Certificates {
    /// Certificates for clients that connect to `localhost`, to a loopback address or to `listen`.
    ///
    /// # Errors
    /// The reason as text: a mistake of ours, or a failure of the system's random source.
    pub fn new(listen: IpAddr) -> Result<Self, String> {
        let said = |why: rcgen::Error| why.to_string();
        let mut params = CertificateParams::new(Vec::new()).map_err(said)?;
        params.distinguished_name.push(DnType::CommonName, "spreadwire simulator");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().map_err(said)?).map_err(said)?;
        let sign = |names: Vec<String>, addresses: &[IpAddr], is_over: bool| {
            let mut params = CertificateParams::new(names).map_err(said)?;
            params.subject_alt_names.extend(addresses.iter().map(|address| SanType::IpAddress(*address)));
            if is_over {
                params.not_after = rcgen::date_time_ymd(2020, 1, 1);
            }
            let key = KeyPair::generate().map_err(said)?;
            let certificate = params.signed_by(&key, &authority).map_err(said)?;
            ServerIdentity::new(certificate.der().to_vec(), key.serialize_der())
        };
        let names = vec!["localhost".to_owned()];
        let here = [IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), listen];
        Ok(Self {
            good: sign(names.clone(), &here, false)?,
            expired: sign(names, &here, true)?,
            other: sign(vec!["another.example".to_owned()], &[], false)?,
            authority: authority.pem(),
        })
    }

    /// The authority as PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The certificate to present while this fault lasts.
    pub(super) const fn of(&self, fault: Option<FaultKind>) -> &ServerIdentity {
        match fault {
            Some(FaultKind::TlsExpired) => &self.expired,
            Some(FaultKind::TlsWrongName) => &self.other,
            _ => &self.good,
        }
    }
}
