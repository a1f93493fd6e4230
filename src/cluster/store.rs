//! What the cluster keeps in Redis, and the only file that knows its keys: leases with fencing tokens, members,
//! latest values, channels. Calls in, answers out; decides nothing.
//!
//! One blocking connection with a deadline for each call, for a thread that may wait. A call that fails or is late
//! ends the connection, so that a late answer is never taken for that of the next call; the next call connects
//! again, at the address that is the master's then. Never on a feed, detector or gateway thread.
//!
//! Every change of a lease is one script, hence one atomic step, and changes nothing unless owner and token match.
//! Scripts run when Redis is full (`allow-oom`, Redis 7.0 or newer): a lease must be renewed and given back then
//! too. Only latest values are refused by a full Redis.
//!
//! | key | what |
//! |---|---|
//! | `<prefix>:lease:<venue>` | `{"token":7,"owner":"…","hostname":"…","successor":"…"}`, gone when the lease ends |
//! | `<prefix>:fence:<venue>` | highest token ever given out; never expires |
//! | `<prefix>:members` | sorted set: instance by the end of its membership in Redis' own milliseconds |
//! | `<prefix>:member` | hash: instance to what it says of itself |
//! | `<prefix>:latest:<venue>:<SYMBOL>` | newest value of one instrument, gone [`LATEST_NS`] after it was written |
//! | channel `<prefix>:quotes:<venue>` | batches of quotes |
//! | channel `<prefix>:control` | [`Control`] messages |
//! | channels `<prefix>:pulse`, `<prefix>:pulse:<instance>` | proof of life, and of how late messages are |
//!
//! Keys belong to a database of Redis, channels do not: in any other database than 0 the channels begin with
//! `<prefix>@<database>`. And whatever a channel is called, each batch and each message names its cluster.

use std::time::Duration;

use redis::{Connection, FromRedisValue, RedisError, Script, Value};
use serde::{Deserialize, Serialize};

use crate::cluster::address::Address;
use crate::cluster::error::{RefusalClass, StoreError};
use crate::cluster::{ClusterOptions, ClusterSettings};
use crate::time::{MS, SECOND};

/// Lifetime of a latest value after it was written, in nanoseconds.
pub const LATEST_NS: u64 = 60 * SECOND;
/// Tokens above this are not believed: Redis' scripts count in doubles, which are exact up to here.
pub const TOKEN_MAX: u64 = 1 << 53;
/// Stands in a text for the token that only Redis will give out; see [`Tokenless`].
pub(crate) const TOKEN_MARK: u64 = TOKEN_MAX + 1;
/// How long a member is one after its last word, in leases.
const MEMBER_LEASES: u64 = 1;
/// What whole milliseconds leave out when a value is written and when it is read, in nanoseconds.
const ROUNDED_NS: u64 = 2 * MS;
/// Keys that are read by one call, so that no call holds up the others.
const LATEST_KEYS: usize = 256;

/// One instance, as it describes itself to the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterMember {
    /// Its id.
    pub id: String,
    /// Its host, for people.
    #[serde(default)]
    pub hostname: String,
    /// How many venues it leads.
    #[serde(default)]
    pub leads: u32,
    /// How late the leaders' batches are with it, in nanoseconds.
    #[serde(default)]
    pub lag_ns: u64,
}

/// A lease as it is in Redis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Lease {
    /// Fencing token: grows with every change of the leader.
    pub token: u64,
    /// Id of the instance that leads.
    pub owner: String,
    /// Its host, for people.
    #[serde(default)]
    pub hostname: String,
    /// The next leader, if the leader has named one.
    #[serde(default)]
    #[serde(rename = "heir")]
    pub successor: Option<String>,
    /// How long it lasts from the answer on, unless renewed, in nanoseconds.
    #[serde(skip)]
    pub left_ns: u64,
}

/// What one look at Redis shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Instances that are alive, in order of their ids; this one included.
    pub members: Vec<ClusterMember>,
    /// Venues that have a leader, by name.
    pub leases: Vec<(String, Lease)>,
    /// Values that are not leases or members, which another program must have written.
    pub refused: u64,
}

/// What became of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is ours, with this token.
    Won(u64),
    /// Somebody leads already; it may be we, after an answer that was lost.
    Held(Lease),
}

/// Messages between instances, besides quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub enum Control {
    /// The leader of `venue` under `token` will hand it over to `successor`. Said by [`Store::name_successor`].
    #[serde(rename = "heir")]
    Successor {
        /// Name of the venue.
        venue: String,
        /// The present leader's token.
        token: u64,
        /// Id of the next leader.
        #[serde(rename = "heir")]
        successor: String,
    },
    /// `owner` leads now. Said by [`Store::take`] and [`Store::claim`].
    Leads {
        /// Name of the venue.
        venue: String,
        /// The new leader's token.
        token: u64,
        /// Id of the new leader.
        owner: String,
    },
    /// There is no leader now: any instance may claim at once. Sent by [`Store::release`].
    Free {
        /// Name of the venue.
        venue: String,
        /// The token that is over.
        token: u64,
    },
    /// A follower has missed a batch: requests a snapshot of the venue from its leader.
    Again {
        /// Name of the venue.
        venue: String,
    },
}

/// A [`Control`] message as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Identity of the sender's cluster, see [`Keys::cluster`]. Empty when the message names none.
    #[serde(default)]
    pub cluster: String,
    /// The message.
    #[serde(flatten)]
    pub message: Control,
}

impl Said {
    /// The text.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// One value as a leader left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestValue {
    /// Place of its key in the question.
    pub at: usize,
    /// What was written.
    pub value: Vec<u8>,
    /// How long ago it was written, by Redis' own clock, in nanoseconds; the way here not included.
    pub since_ns: u64,
}

/// One connection to Redis, made when it is first needed.
pub struct Store {
    address: Address,
    call: Duration,
    keys: Keys,
    /// Duration of a lease in milliseconds.
    lease_ms: u64,
    me: String,
    hostname: String,
    link: Option<Connection>,
    scripts: Scripts,
}

impl Store {
    /// For the Redis of `settings`. Touches no network.
    ///
    /// # Errors
    /// A sentence about the address, without its password.
    pub fn new(settings: &ClusterSettings) -> Result<Self, String> {
        let ClusterSettings { cluster, id, hostname } = settings;
        Ok(Self {
            address: Address::of(cluster)?,
            call: Duration::from_millis(cluster.call_ms.max(1)),
            keys: Keys::of(cluster)?,
            lease_ms: cluster.lease_ms,
            me: id.clone(),
            hostname: hostname.clone(),
            link: None,
            scripts: Scripts::new(),
        })
    }

    /// Names of keys and channels.
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether there is a connection that has not failed yet.
    #[must_use]
    pub const fn is_connected(&self) -> bool {
        self.link.is_some()
    }

    /// Connects if need be, and asks for a sign of life.
    ///
    /// # Errors
    /// Why there is none. [`StoreError::is_lasting`] separates mistakes in the configuration from a Redis that is down.
    pub fn check(&mut self) -> Result<(), StoreError> {
        self.call(|link, _| redis::cmd("PING").query::<Value>(link)).map(drop)
    }

    /// Says that this instance is alive, and looks at everything in one round trip. `venues` by name.
    ///
    /// # Errors
    /// Nothing is known then.
    pub fn beat(&mut self, me: &ClusterMember, venues: &[&str]) -> Result<ClusterView, StoreError> {
        let (members, member) = (self.keys.members(), self.keys.member());
        let leases: Vec<String> = venues.iter().map(|venue| self.keys.lease(venue)).collect();
        let lasts_ms = (self.lease_ms * MEMBER_LEASES).max(1000);
        let said = serde_json::to_string(me).unwrap_or_default();
        let seen = self.call(|link, scripts| {
            let mut call = scripts.beat.prepare_invoke();
            call.key(&members).key(&member).key(&leases);
            call.arg(&me.id).arg(said.as_str()).arg(lasts_ms).invoke(link)
        })?;
        Ok(view(seen, venues))
    }

    /// Looks at everything in one round trip and leaves no trace: for those who are no members.
    ///
    /// # Errors
    /// Nothing is known then.
    pub fn look(&mut self, venues: &[&str]) -> Result<ClusterView, StoreError> {
        let (members, member) = (self.keys.members(), self.keys.member());
        let leases: Vec<String> = venues.iter().map(|venue| self.keys.lease(venue)).collect();
        let seen = self
            .call(|link, scripts| scripts.look.prepare_invoke().key(&members).key(&member).key(&leases).invoke(link))?;
        Ok(view(seen, venues))
    }

    /// Says that this instance leaves.
    ///
    /// # Errors
    /// It is forgotten after a while then.
    pub fn leave(&mut self) -> Result<(), StoreError> {
        let (members, member, me) = (self.keys.members(), self.keys.member(), self.me.clone());
        self.call(|link, scripts| scripts.leave.key(&members).key(&member).arg(&me).invoke(link))
    }

    /// Claims the lease of `venue` in one step, with a token above `floor` and above all that were given out.
    ///
    /// # Errors
    /// It may have been won all the same: the next claim then finds it held by us.
    pub fn claim(&mut self, venue: &str, floor: u64) -> Result<Claim, StoreError> {
        let (lease_key, fence, control) = (self.keys.lease(venue), self.keys.fence(venue), self.keys.control());
        let (mine, lease_ms) = (after_token(&self.me, &self.hostname, None), self.lease_ms);
        let said = self.leads(venue);
        let (token, held, left_ms): (u64, String, i64) = self.call(|link, scripts| {
            let mut call = scripts.claim.prepare_invoke();
            call.key(&lease_key).key(&fence).key(&control).arg(&mine).arg(lease_ms).arg(floor.min(TOKEN_MAX));
            call.arg(said.before.as_slice()).arg(said.after.as_slice()).invoke(link)
        })?;
        if token > 0 {
            return Ok(Claim::Won(token));
        }
        match lease(&held, left_ms) {
            Some(lease) => Ok(Claim::Held(lease)),
            None => Err(StoreError::Refused(RefusalClass::Other, format!("the lease of {venue} is no lease of ours"))),
        }
    }

    /// Makes leases of ours last anew; by venue and token. In the same order: whether it was ours.
    ///
    /// # Errors
    /// All, some or none were renewed.
    pub fn renew(&mut self, held: &[(&str, u64)]) -> Result<Vec<bool>, StoreError> {
        if held.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = held.iter().map(|(venue, _)| self.keys.lease(venue)).collect();
        let heads: Vec<String> = held.iter().map(|(_, token)| self.head(*token)).collect();
        let lease_ms = self.lease_ms;
        self.call(|link, scripts| {
            let mut call = scripts.renew.prepare_invoke();
            call.key(&keys).arg(lease_ms).arg(&heads).invoke(link)
        })
    }

    /// Writes the next leader into our lease of `venue`, and announces it. Whether the lease was ours.
    ///
    /// # Errors
    /// It may have been written all the same.
    pub fn name_successor(&mut self, venue: &str, token: u64, successor: &str) -> Result<bool, StoreError> {
        let (lease, control, head) = (self.keys.lease(venue), self.keys.control(), self.head(token));
        let value = format!("{{\"token\":{token}{}", after_token(&self.me, &self.hostname, Some(successor)));
        let said = self.said(&Control::Successor { venue: venue.to_owned(), token, successor: successor.to_owned() });
        self.call(|link, scripts| {
            scripts.name_successor.key(&lease).key(&control).arg(&head).arg(&value).arg(&said).invoke(link)
        })
    }

    /// Takes the lease of `venue` from the leader under `token`, which has named us as its successor; announces it, and sends
    /// them `batches` under the next token. One atomic step: the old leader publishes until then, and no other after it
    /// but us. Our token, or `None` when the lease does not name us any more; then nothing was sent.
    ///
    /// # Errors
    /// It may have happened all the same.
    pub fn take(&mut self, venue: &str, token: u64, batches: &[Tokenless]) -> Result<Option<u64>, StoreError> {
        let (lease, fence, control) = (self.keys.lease(venue), self.keys.fence(venue), self.keys.control());
        let (quotes, lease_ms) = (self.keys.quotes(venue), self.lease_ms);
        let (begins, ends) = (format!("{{\"token\":{token},"), format!(",\"heir\":{}}}", json_text(&self.me)));
        let mine = after_token(&self.me, &self.hostname, None);
        let said = self.leads(venue);
        let next: u64 = self.call(|link, scripts| {
            let mut call = scripts.take.prepare_invoke();
            call.key(&lease).key(&fence).key(&control).key(&quotes).arg(&begins).arg(&ends).arg(&mine).arg(lease_ms);
            call.arg(said.before.as_slice()).arg(said.after.as_slice());
            for Tokenless { before, after } in batches {
                call.arg(before.as_slice()).arg(after.as_slice());
            }
            call.invoke(link)
        })?;
        Ok((next > 0).then_some(next))
    }

    /// Releases our lease of `venue` and announces it. Whether the lease was ours.
    ///
    /// # Errors
    /// It ends by itself then.
    pub fn release(&mut self, venue: &str, token: u64) -> Result<bool, StoreError> {
        let (lease, control, head) = (self.keys.lease(venue), self.keys.control(), self.head(token));
        let said = self.said(&Control::Free { venue: venue.to_owned(), token });
        self.call(|link, scripts| scripts.release.key(&lease).key(&control).arg(&head).arg(&said).invoke(link))
    }

    /// Sends batches to all who follow, each if the lease of its venue is ours with this token; in one round trip.
    /// In the same order: whether it was. What was not is not sent.
    ///
    /// # Errors
    /// All, some or none were sent.
    pub fn publish(&mut self, batches: &[Outgoing<'_>]) -> Result<Vec<bool>, StoreError> {
        if batches.is_empty() {
            return Ok(Vec::new());
        }
        let (keys, me) = (&self.keys, json_text(&self.me));
        let mut call = self.scripts.publish.prepare_invoke();
        for batch in batches {
            call.key(keys.lease(batch.venue)).key(keys.quotes(batch.venue));
            call.arg(head(batch.token, &me)).arg(batch.text);
        }
        let link = &mut self.link;
        Self::answer_of(link, &self.address, self.call, |link| call.invoke(link))
    }

    /// Writes the latest values of instruments of `venue`, by symbol, if the lease is ours with this token.
    /// `false`: it is not, and nothing was written.
    ///
    /// # Errors
    /// Some may have been written. [`RefusalClass::Oom`] when Redis is full: leases and batches still work then.
    pub fn keep_latest(&mut self, venue: &str, token: u64, values: &[(&str, &[u8])]) -> Result<bool, StoreError> {
        let (lease, head) = (self.keys.lease(venue), self.head(token));
        for part in values.chunks(LATEST_KEYS) {
            let keys: Vec<String> = part.iter().map(|(symbol, _)| self.keys.latest(venue, symbol)).collect();
            let kept: bool = self.call(|link, scripts| {
                let mut call = scripts.keep.prepare_invoke();
                call.key(&lease).key(&keys).arg(&head).arg(LATEST_NS / MS);
                for (_, value) in part {
                    call.arg(*value);
                }
                call.invoke(link)
            })?;
            if !kept {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The latest values of these (venue, symbol); those that are missing are left out.
    ///
    /// # Errors
    /// Nothing is known then.
    pub fn latest(&mut self, wanted: &[(&str, &str)]) -> Result<Vec<LatestValue>, StoreError> {
        let mut found = Vec::with_capacity(wanted.len());
        for (part, wanted) in wanted.chunks(LATEST_KEYS).enumerate() {
            let keys: Vec<String> = wanted.iter().map(|(venue, symbol)| self.keys.latest(venue, symbol)).collect();
            let values: Vec<(Option<Vec<u8>>, i64)> =
                self.call(|link, scripts| scripts.latest.prepare_invoke().key(&keys).invoke(link))?;
            for (at, (value, left_ms)) in values.into_iter().enumerate() {
                let (Some(value), Ok(left_ms)) = (value, u64::try_from(left_ms)) else { continue };
                let since_ns = LATEST_NS.saturating_sub(left_ms.saturating_mul(MS)) + ROUNDED_NS;
                found.push(LatestValue { at: part * LATEST_KEYS + at, value, since_ns });
            }
        }
        Ok(found)
    }

    /// Tells all instances.
    ///
    /// # Errors
    /// It may have been said all the same.
    pub fn say(&mut self, message: &Control) -> Result<(), StoreError> {
        let (control, said) = (self.keys.control(), self.said(message));
        self.call(|link, _| redis::cmd("PUBLISH").arg(&control).arg(&said).query::<u64>(link)).map(drop)
    }

    /// Writes plain keys, each for so many seconds: those of the replaced system.
    ///
    /// # Errors
    /// Some may have been written.
    pub(crate) fn write_plain(&mut self, values: &[(String, Vec<u8>)], lasts_s: u64) -> Result<(), StoreError> {
        if values.is_empty() {
            return Ok(());
        }
        self.call(|link, _| {
            let mut pipe = redis::pipe();
            for (key, value) in values {
                pipe.cmd("SET").arg(key).arg(value).arg("EX").arg(lasts_s).ignore();
            }
            pipe.query::<()>(link)
        })
    }

    /// Makes the calls of `ask` on the connection, which is made first if there is none.
    fn call<T: FromRedisValue>(
        &mut self,
        ask: impl FnOnce(&mut Connection, &Scripts) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let Self { link, address, call, scripts, .. } = self;
        Self::answer_of(link, address, *call, |link| ask(link, scripts))
    }

    fn answer_of<T: FromRedisValue>(
        kept: &mut Option<Connection>,
        address: &Address,
        within: Duration,
        ask: impl FnOnce(&mut Connection) -> Result<T, RedisError>,
    ) -> Result<T, StoreError> {
        let mut link = match kept.take() {
            Some(link) => link,
            None => address.connect(within)?,
        };
        let answer = ask(&mut link).map_err(StoreError::from);
        // After any other error the next answer could be that of this call, or this is not the Redis to talk to.
        let is_in_step = match &answer {
            Ok(_) => true,
            Err(StoreError::Refused(class, _)) => {
                matches!(
                    class,
                    RefusalClass::Oom
                        | RefusalClass::NoScript
                        | RefusalClass::Misconf
                        | RefusalClass::Busy
                        | RefusalClass::Other
                )
            }
            Err(_) => false,
        };
        *kept = is_in_step.then_some(link);
        answer
    }

    fn said(&self, message: &Control) -> String {
        Said { cluster: self.keys.cluster(), message: message.clone() }.json()
    }

    /// That `owner` leads `venue` under a token that only the script will know.
    fn leads(&self, venue: &str) -> Tokenless {
        let (venue, owner) = (venue.to_owned(), self.me.clone());
        Tokenless::of(self.said(&Control::Leads { venue, token: TOKEN_MARK, owner }).as_bytes())
    }

    fn head(&self, token: u64) -> String {
        head(token, &json_text(&self.me))
    }
}

/// A batch on its way out.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Name of the venue.
    pub venue: &'a str,
    /// The token of our lease.
    pub token: u64,
    /// The batch.
    pub text: &'a [u8],
}

/// A batch or message whose token is not known yet: the text before it and after it.
#[derive(Clone, Debug, Default)]
pub struct Tokenless {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Tokenless {
    /// `text`, written with [`TOKEN_MARK`] as its token.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        const KEY: &str = "\"token\":";
        // No name contains it: quotes in names are escaped.
        let mark = format!("{KEY}{TOKEN_MARK}");
        let at = text.windows(mark.len()).position(|part| part == mark.as_bytes());
        let at = at.map_or(text.len(), |at| at + KEY.len());
        let end = text.len().min(at + mark.len() - KEY.len());
        Self { before: text[..at].to_vec(), after: text[end..].to_vec() }
    }
}

/// How the lease with `token` of the owner (a JSON string) begins, which no other begins with.
fn head(token: u64, owner: &str) -> String {
    format!("{{\"token\":{token},\"owner\":{owner},")
}

/// Names of keys and channels of one cluster: under one prefix in one database.
#[derive(Clone, Debug)]
pub struct Keys {
    prefix: String,
    database: i64,
}

impl Keys {
    /// The keys of the cluster that `options` describes.
    ///
    /// # Errors
    /// A sentence about the address.
    pub fn of(options: &ClusterOptions) -> Result<Self, String> {
        let database = Address::parse(&options.redis)?.database();
        Ok(Self { prefix: options.prefix.clone(), database })
    }

    /// Identity of this cluster among those of the same Redis, such as `spreadwire/0`.
    #[must_use]
    pub fn cluster(&self) -> String {
        format!("{}/{}", self.prefix, self.database)
    }

    fn channel(&self, name: std::fmt::Arguments<'_>) -> String {
        match self.database {
            0 => format!("{}:{name}", self.prefix),
            database => format!("{}@{database}:{name}", self.prefix),
        }
    }

    /// Key of the lease of `venue`, whose value names its leader.
    #[must_use]
    pub fn lease(&self, venue: &str) -> String {
        format!("{}:lease:{venue}", self.prefix)
    }

    /// Key of the highest fencing token of `venue`.
    #[must_use]
    pub fn fence(&self, venue: &str) -> String {
        format!("{}:fence:{venue}", self.prefix)
    }

    /// Key of the times at which memberships end.
    #[must_use]
    pub fn members(&self) -> String {
        format!("{}:members", self.prefix)
    }

    /// Key of what members state about themselves.
    #[must_use]
    pub fn member(&self) -> String {
        format!("{}:member", self.prefix)
    }

    /// Key of the latest value of one instrument of `venue`.
    #[must_use]
    pub fn latest(&self, venue: &str, symbol: &str) -> String {
        format!("{}:latest:{venue}:{symbol}", self.prefix)
    }

    /// Channel of the batches of `venue`.
    #[must_use]
    pub fn quotes(&self, venue: &str) -> String {
        self.channel(format_args!("quotes:{venue}"))
    }

    /// Channel of [`Control`] messages.
    #[must_use]
    pub fn control(&self) -> String {
        self.channel(format_args!("control"))
    }

    /// Channel of the heartbeats of all instances.
    #[must_use]
    pub fn pulse(&self) -> String {
        self.channel(format_args!("pulse"))
    }

    /// Channel of the heartbeats that `instance` sends to itself.
    #[must_use]
    pub(crate) fn own_pulse(&self, instance: &str) -> String {
        self.channel(format_args!("pulse:{instance}"))
    }
}

/// What follows the token in a lease.
fn after_token(owner: &str, hostname: &str, successor: Option<&str>) -> String {
    let successor = successor.map(|successor| format!(",\"heir\":{}", json_text(successor))).unwrap_or_default();
    format!(",\"owner\":{},\"hostname\":{}{successor}}}", json_text(owner), json_text(hostname))
}

fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What the scripts that look return: what members say of themselves; leases, and the milliseconds that are left.
type ScriptView = (Vec<String>, Vec<(Option<String>, i64)>);

fn view(seen: ScriptView, venues: &[&str]) -> ClusterView {
    let mut view = ClusterView::default();
    for text in seen.0 {
        match serde_json::from_str(&text) {
            Ok(one) => view.members.push(one),
            Err(_) => view.refused += 1,
        }
    }
    for (venue, (text, left_ms)) in venues.iter().zip(seen.1) {
        match text.map(|text| lease(&text, left_ms)) {
            Some(Some(lease)) => view.leases.push(((*venue).to_owned(), lease)),
            Some(None) => view.refused += 1,
            None => {}
        }
    }
    view
}

/// A lease as it was written; `None` when it is none.
fn lease(text: &str, left_ms: i64) -> Option<Lease> {
    let lease: Lease = serde_json::from_str(text).ok()?;
    let left_ns = u64::try_from(left_ms).unwrap_or(0).saturating_mul(MS);
    (lease.token > 0 && lease.token <= TOKEN_MAX).then_some(Lease { left_ns, ..lease })
}

struct Scripts {
    beat: Script,
    look: Script,
    leave: Script,
    claim: Script,
    renew: Script,
    name_successor: Script,
    take: Script,
    release: Script,
    publish: Script,
    keep: Script,
    latest: Script,
}

impl Scripts {
    fn new() -> Self {
        Self {
            beat: Script::new(BEAT),
            look: Script::new(LOOK),
            leave: Script::new(LEAVE),
            claim: Script::new(CLAIM),
            renew: Script::new(RENEW),
            name_successor: Script::new(NAME_SUCCESSOR),
            take: Script::new(TAKE),
            release: Script::new(RELEASE),
            publish: Script::new(PUBLISH),
            keep: Script::new(KEEP),
            latest: Script::new(LATEST),
        }
    }
}

/// Keys: members, member, leases. Arguments: id, what it says, milliseconds. One clock, that of Redis, decides
/// who is still a member.
const BEAT: &str = r"#!lua flags=allow-oom
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], gone)
  redis.call('HDEL', KEYS[2], gone)
end
redis.call('ZADD', KEYS[1], now + ARGV[3], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local members, leases = {}, {}
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(ids)
for _, id in ipairs(ids) do
  members[#members + 1] = redis.call('HGET', KEYS[2], id) or ''
end
for at = 3, #KEYS do
  leases[#leases + 1] = {redis.call('GET', KEYS[at]), redis.call('PTTL', KEYS[at])}
end
return {members, leases}
";

/// Keys: members, member, leases. Writes nothing, so that a replica answers too.
const LOOK: &str = r"#!lua flags=allow-oom,no-writes
local time = redis.call('TIME')
local now = string.format('(%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local members, leases = {}, {}
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf')
table.sort(ids)
for _, id in ipairs(ids) do
  members[#members + 1] = redis.call('HGET', KEYS[2], id) or ''
end
for at = 3, #KEYS do
  leases[#leases + 1] = {redis.call('GET', KEYS[at]), redis.call('PTTL', KEYS[at])}
end
return {members, leases}
";

const LEAVE: &str = r"#!lua flags=allow-oom
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
return redis.status_reply('OK')
";

/// Keys: lease, fence, control. Arguments: what follows the token, milliseconds, floor, the message in two parts.
/// The fence may have lost its last numbers in a failover, or all in a flush, and whoever claims may be too new to
/// know them. So a token is above the stored fence, above the floor (the highest that the caller knows), and not below
/// Redis' own milliseconds: a number that was given out and forgotten is not given out again. What is no lease, or
/// would never end, another program has put there: it delays no one.
const CLAIM: &str = r#"#!lua flags=allow-oom
local held, left = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])
if held and left >= 0 and string.match(held, '^{"token":%d+,"owner":"') then return {0, held, left} end
local time = redis.call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)
local last = math.max(tonumber(redis.call('GET', KEYS[2])) or 0, tonumber(ARGV[3]), clock - 1)
local token = string.format('%.0f', last + 1)
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], '{"token":' .. token .. ARGV[1], 'PX', ARGV[2])
redis.call('PUBLISH', KEYS[3], ARGV[4] .. token .. ARGV[5])
return {tonumber(token), '', 0}
"#;

/// Keys: leases. Arguments: milliseconds, then how each begins.
const RENEW: &str = r"#!lua flags=allow-oom
local ours = {}
for at, key in ipairs(KEYS) do
  local head = ARGV[at + 1]
  local held = redis.call('GET', key)
  if held and string.sub(held, 1, #head) == head then
    redis.call('PEXPIRE', key, ARGV[1])
    ours[at] = 1
  else
    ours[at] = 0
  end
end
return ours
";

/// Keys: lease, control. Arguments: how it begins, its new text, the message.
const NAME_SUCCESSOR: &str = r"#!lua flags=allow-oom
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
redis.call('PUBLISH', KEYS[2], ARGV[3])
return 1
";

/// Keys: lease, fence, control, quotes. Arguments: how the lease begins and ends, what follows the new token,
/// milliseconds, the message in two parts, then each batch in two parts.
const TAKE: &str = r#"#!lua flags=allow-oom
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] or string.sub(held, -#ARGV[2]) ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local clock = time[1] * 1000 + math.floor(time[2] / 1000)
local last = math.max(tonumber(redis.call('GET', KEYS[2])) or 0, tonumber(string.match(held, '%d+')), clock - 1)
local token = string.format('%.0f', last + 1)
redis.call('SET', KEYS[2], token)
redis.call('SET', KEYS[1], '{"token":' .. token .. ARGV[3], 'PX', ARGV[4])
redis.call('PUBLISH', KEYS[3], ARGV[5] .. token .. ARGV[6])
for at = 7, #ARGV, 2 do
  redis.call('PUBLISH', KEYS[4], ARGV[at] .. token .. ARGV[at + 1])
end
return tonumber(token)
"#;

/// Keys: lease, control. Arguments: how it begins, the message.
const RELEASE: &str = r"#!lua flags=allow-oom
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', KEYS[2], ARGV[2])
return 1
";

/// Keys: lease and channel of each batch. Arguments: how its lease begins, and the batch.
const PUBLISH: &str = r"#!lua flags=allow-oom
local ours = {}
for at = 1, #KEYS, 2 do
  local held = redis.call('GET', KEYS[at])
  local head = ARGV[at]
  if held and string.sub(held, 1, #head) == head then
    redis.call('PUBLISH', KEYS[at + 1], ARGV[at + 1])
    ours[#ours + 1] = 1
  else
    ours[#ours + 1] = 0
  end
end
return ours
";

/// Keys: lease, values. Arguments: how the lease begins, milliseconds, values. A full Redis refuses it.
const KEEP: &str = r"#!lua
local held = redis.call('GET', KEYS[1])
if not held or string.sub(held, 1, #ARGV[1]) ~= ARGV[1] then return 0 end
for at = 2, #KEYS do
  redis.call('SET', KEYS[at], ARGV[at + 1], 'PX', ARGV[2])
end
return 1
";

/// Keys: values. With how long each will last, which gives its age by Redis' own clock.
const LATEST: &str = r"#!lua flags=no-writes,allow-oom
local found = {}
for at, key in ipairs(KEYS) do
  found[at] = {redis.call('GET', key), redis.call('PTTL', key)}
end
return found
";
