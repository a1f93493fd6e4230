//! The address of Redis, and a connection to the master behind it. Never prints a password.

use std::io::Read;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use redis::{
    Client, ClientTlsConfig, Connection, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo,
    TlsCertificates,
};

use crate::cluster::ClusterOptions;
use crate::cluster::error::{RefusalClass, StoreError};
use crate::wire::url::{UrlError, host_and_port};

/// The oldest Redis whose scripts may run when its memory is full; source: <https://redis.io/docs/latest/develop/programmability/lua-api/#script_flags>, read 2026-11-21.
const VERSION_MIN: (u64, u64) = (7, 0);
/// Sentinel's port where the address has none.
const SENTINEL_PORT: u16 = 26379;
/// The valid forms, for the error message.
const FORMS: &str = "it is `redis://[user:password@]host[:port][/db]`, the same with `rediss://` (TLS), \
                     or `redis+sentinel://[user:password@]host:port,host:port/name[/db]`, also with `rediss`";
/// Longest refusal of Redis that is read, in bytes.
const REFUSAL_MAX: usize = 512;

/// An address that was understood.
#[derive(Clone, Debug)]
pub struct Address {
    kind: RedisServer,
    /// How we prove ourselves to the Sentinels.
    sentinel: RedisConnectionInfo,
    /// With TLS: the trusted authorities, and our certificate.
    certificates: Option<TlsCertificates>,
}

#[derive(Clone, Debug)]
enum RedisServer {
    /// One Redis, or whatever stands before several.
    Direct(ConnectionInfo),
    /// The sentinels of a master, its name, and who we are to it.
    Sentinels(Vec<ConnectionAddr>, String, RedisConnectionInfo),
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    /// A sentence about what is wrong, without the address itself: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let sentinels = [("redis+sentinel://", false), ("rediss+sentinel://", true)];
        let sentinels = sentinels.iter().find_map(|(scheme, tls)| Some((text.strip_prefix(scheme)?, *tls)));
        let kind = match sentinels {
            Some((rest, tls)) => Self::parse_sentinels(rest, tls),
            None if text.starts_with("redis://") || text.starts_with("rediss://") => Self::parse_direct(text),
            None => Err(format!("not an address of Redis: {FORMS}")),
        }?;
        Ok(Self { kind, sentinel: RedisConnectionInfo::default(), certificates: None })
    }

    /// The address of `options`, with all that they say of passwords and certificates.
    ///
    /// # Errors
    /// A sentence about the address, or about a file that cannot be read.
    pub fn of(options: &ClusterOptions) -> Result<Self, String> {
        let ClusterOptions { redis, sentinel_user, sentinel_password, ca_file, cert_file, key_file, .. } = options;
        let mut address = Self::parse(redis)?;
        if !sentinel_user.is_empty() {
            address.sentinel = address.sentinel.set_username(sentinel_user);
        }
        if !sentinel_password.is_empty() {
            address.sentinel = address.sentinel.set_password(sentinel_password);
        }
        let read = |path: &String| std::fs::read(path).map_err(|why| format!("{path}: {why}"));
        let is_named = |path: &&String| !path.is_empty();
        let root_cert = Some(ca_file).filter(is_named).map(read).transpose()?;
        let client_tls = match Some(cert_file).filter(is_named) {
            Some(path) => Some(ClientTlsConfig { client_cert: read(path)?, client_key: read(key_file)? }),
            None => None,
        };
        if root_cert.is_some() || client_tls.is_some() {
            address.certificates = Some(TlsCertificates { client_tls, root_cert });
        }
        Ok(address)
    }

    /// The same text with stars where the password is: fit for a listing or a log.
    #[must_use]
    pub(crate) fn without_password(text: &str) -> String {
        let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
        // A password may hold any letter, even one that should have been written otherwise.
        let Some((user, place)) = rest.rsplit_once('@') else { return text.to_owned() };
        let name = user.split(':').next().unwrap_or_default();
        format!("{scheme}://{name}:***@{place}")
    }

    /// Number of the database.
    #[must_use]
    pub(crate) fn database(&self) -> i64 {
        match &self.kind {
            RedisServer::Direct(info) => info.redis_settings().db(),
            RedisServer::Sentinels(_, _, settings) => settings.db(),
        }
    }

    fn parse_direct(text: &str) -> Result<RedisServer, String> {
        let info = text.into_connection_info().map_err(|_| format!("not an address of Redis: {FORMS}"))?;
        Ok(RedisServer::Direct(info))
    }

    fn parse_sentinels(rest: &str, tls: bool) -> Result<RedisServer, String> {
        let wrong = |what: &str| format!("not an address of Redis Sentinel ({what}): {FORMS}");
        let (user, places) = rest.rsplit_once('@').map_or(("", rest), |(user, places)| (user, places));
        let (hosts, path) = places.split_once('/').ok_or_else(|| wrong("the name of the master is missing"))?;
        let (name, db) = path.split_once('/').unwrap_or((path, ""));
        if name.is_empty() {
            return Err(wrong("the name of the master is missing"));
        }
        let mut sentinels = Vec::new();
        for host in hosts.split(',') {
            let (name, port) = host_and_port(host).map_err(|why| match why {
                UrlError::Port => wrong("a port"),
                _ => wrong("a host is missing"),
            })?;
            sentinels.push(place(name, port.unwrap_or(SENTINEL_PORT), tls));
        }
        // The same words before the host and after the name as in a direct address, so the same reader.
        let at = if user.is_empty() { "" } else { "@" };
        let as_direct = format!("redis://{user}{at}master/{db}");
        let info = as_direct.as_str().into_connection_info().map_err(|_| wrong("user, password or database"))?;
        Ok(RedisServer::Sentinels(sentinels, name.to_owned(), info.redis_settings().clone()))
    }

    /// Connects to the master, each step within `within`; every call of the connection has that deadline too.
    ///
    /// # Errors
    /// Why there is no connection.
    pub fn connect(&self, within: Duration) -> Result<Connection, StoreError> {
        match &self.kind {
            RedisServer::Direct(info) => self.open(info.clone(), within),
            RedisServer::Sentinels(sentinels, name, settings) => {
                let mut why = StoreError::Gone("no sentinel".to_owned());
                for sentinel in sentinels {
                    match self.master_of(sentinel, name, within) {
                        Ok(addr) => match self.open(info_at(addr, settings.clone()), within).and_then(as_master) {
                            Ok(link) => return Ok(link),
                            Err(error) => why = error,
                        },
                        Err(error) => why = error,
                    }
                }
                Err(why)
            }
        }
    }

    /// The same for a connection that only listens: by RESP3, which separates messages from replies.
    ///
    /// # Errors
    /// Why there is no connection.
    pub(crate) fn connect_to_listen(&self, within: Duration) -> Result<Connection, StoreError> {
        let resp3 = |settings: &RedisConnectionInfo| settings.clone().set_protocol(redis::ProtocolVersion::RESP3);
        let kind = match &self.kind {
            RedisServer::Direct(info) => {
                let settings = resp3(info.redis_settings());
                RedisServer::Direct(info.clone().set_redis_settings(settings))
            }
            RedisServer::Sentinels(sentinels, name, settings) => {
                RedisServer::Sentinels(sentinels.clone(), name.clone(), resp3(settings))
            }
        };
        Self { kind, ..self.clone() }.connect(within)
    }

    fn open(&self, info: ConnectionInfo, within: Duration) -> Result<Connection, StoreError> {
        let place = info.addr().clone();
        let link = self.dial(info, within).and_then(|mut link| refuse_old(&mut link).map(|()| link));
        match link {
            // Redis may have sent the reason before it hung up; it has not been read yet.
            Err(StoreError::Gone(why)) => Err(refusal(&place, within).unwrap_or(StoreError::Gone(why))),
            link => link,
        }
    }

    fn dial(&self, info: ConnectionInfo, within: Duration) -> Result<Connection, StoreError> {
        let is_tls = matches!(info.addr(), ConnectionAddr::TcpTls { .. });
        let client = match self.certificates.as_ref().filter(|_| is_tls) {
            Some(certificates) => Client::build_with_tls(info, certificates.clone()),
            None => Client::open(info),
        };
        let link = client?.get_connection_with_timeout(within)?;
        link.set_read_timeout(Some(within))?;
        link.set_write_timeout(Some(within))?;
        Ok(link)
    }

    /// Asks one sentinel where the master called `name` is.
    fn master_of(&self, at: &ConnectionAddr, name: &str, within: Duration) -> Result<ConnectionAddr, StoreError> {
        let asked = self.dial(info_at(at.clone(), self.sentinel.clone()), within).and_then(|mut link| {
            let mut ask = redis::cmd("SENTINEL");
            Ok(ask.arg("GET-MASTER-ADDR-BY-NAME").arg(name).query::<Option<(String, u16)>>(&mut link)?)
        });
        let found = asked.map_err(|error| match error {
            StoreError::Refused(RefusalClass::NoAuth, words) => {
                let words = format!("{words}; the Sentinel's own password is cluster.sentinel_password");
                StoreError::Refused(RefusalClass::NoAuth, words)
            }
            other => other,
        })?;
        let (host, port) = found.ok_or_else(|| StoreError::Gone(format!("the sentinels know no master `{name}`")))?;
        Ok(place(&host, port, matches!(at, ConnectionAddr::TcpTls { .. })))
    }
}

fn place(host: &str, port: u16, tls: bool) -> ConnectionAddr {
    let host = host.to_owned();
    if tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

/// What Redis says to everybody who connects, such as that it has too many clients, before it hangs up.
fn refusal(place: &ConnectionAddr, within: Duration) -> Option<StoreError> {
    let ConnectionAddr::Tcp(host, port) = place else { return None };
    let place = (host.as_str(), *port).to_socket_addrs().ok()?.next()?;
    let mut link = TcpStream::connect_timeout(&place, within).ok()?;
    link.set_read_timeout(Some(within)).ok()?;
    let mut text = [0; REFUSAL_MAX];
    let length = link.read(&mut text).ok()?;
    let line = String::from_utf8_lossy(&text[..length]);
    let words = line.strip_prefix('-')?.lines().next()?.trim_start_matches("ERR ").to_owned();
    Some(StoreError::Refused(RefusalClass::Unavailable, format!("Redis refuses us: {words}")))
}

fn info_at(addr: ConnectionAddr, settings: RedisConnectionInfo) -> ConnectionInfo {
    // The address is replaced; the form is that of any direct one.
    let any = "redis://master/".into_connection_info();
    any.map(|info| info.set_addr(addr).set_redis_settings(settings)).unwrap_or_else(|_| unreachable!("a constant"))
}

fn refuse_old(link: &mut Connection) -> Result<(), StoreError> {
    let facts: String = match redis::cmd("INFO").arg("server").query(link).map_err(StoreError::from) {
        Ok(facts) => facts,
        // A user that may not ask can still be allowed all that is needed.
        Err(StoreError::Refused(RefusalClass::NoAuth, words)) if words.contains("NOPERM") => return Ok(()),
        Err(error) => return Err(error),
    };
    let version = facts.lines().find_map(|line| line.strip_prefix("redis_version:")).unwrap_or_default().trim();
    let mut numbers = version.split('.').map_while(|part| part.parse::<u64>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else { return Ok(()) };
    if (major, minor) < VERSION_MIN {
        let (major, minor) = VERSION_MIN;
        let words = format!("Redis {version} is too old: {major}.{minor} or newer is needed");
        return Err(StoreError::Refused(RefusalClass::TooOld, words));
    }
    Ok(())
}

/// Sentinels may still name the old master for a moment, which by then is a replica.
fn as_master(mut link: Connection) -> Result<Connection, StoreError> {
    let role: Vec<redis::Value> = redis::cmd("ROLE").query(&mut link)?;
    let word: String = role.into_iter().next().map_or(Ok(String::new()), redis::from_redis_value).unwrap_or_default();
    match word.as_str() {
        "master" => Ok(link),
        _ => Err(StoreError::Refused(RefusalClass::ReadOnly, "the sentinels name a replica".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_understood() {
        for text in [
            "redis://127.0.0.1",
            "redis://:secret@redis.example:6380/2",
            "rediss://user:secret@redis.example:6380/",
            "redis+sentinel://a:26379,b,[::1]:5000/mymaster",
            "redis+sentinel://user:p%40ss@a:1,b:2/mymaster/3",
        ] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
        for tls in [false, true] {
            let scheme = if tls { "rediss" } else { "redis" };
            let address = Address::parse(&format!("{scheme}+sentinel://a:1,b,[::1]:5/m")).unwrap();
            let RedisServer::Sentinels(hosts, name, _) = address.kind else { panic!("not sentinels") };
            assert_eq!(hosts, [place("a", 1, tls), place("b", SENTINEL_PORT, tls), place("::1", 5, tls)]);
            assert_eq!(name, "m");
        }
    }

    #[test]
    fn a_password_is_shown_as_stars() {
        for (text, shown) in [
            ("redis://127.0.0.1:6379/", "redis://127.0.0.1:6379/"),
            ("redis://:se@cr/et@host/2", "redis://:***@host/2"),
            ("rediss://user:secret@host", "rediss://user:***@host"),
            ("redis+sentinel://user:secret@a:1,b:2/name", "redis+sentinel://user:***@a:1,b:2/name"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(Address::without_password(text), shown);
        }
    }

    #[test]
    fn a_wrong_address_is_refused_in_a_sentence_without_its_password() {
        for text in [
            "",
            "127.0.0.1:6379",
            "http://:secret@host",
            "redis://:secret@host:notaport",
            "redis+sentinel://:secret@a:1,b:2",
            "redis+sentinel://:secret@a:1,b:2/",
            "redis+sentinel://:secret@a:x/m",
            "redis+sentinel://:secret@a:1/m/notadb",
            "redis+sentinel://:secret@,b:2/m",
        ] {
            let why = Address::parse(text).expect_err(text);
            assert!(why.starts_with("not an address of Redis") && !why.contains("secret"), "{text}: {why}");
        }
    }
}
