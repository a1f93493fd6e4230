//! Admin calls: the gateway checks the token and forwards a call; it does not know how a change is carried out. The
//! response returns through a channel, and the gateway's thread does not wait for it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, bounded};
use rustc_hash::FxHashMap;

use crate::gateway::timers::ClientId;
use crate::net::backoff::doubled;
use crate::net::listen::{Caller, one_client};
use crate::protocol::admin::{Outcome, RetryWish, SetWish};
use crate::stage::Alarm;
use crate::time::{MonoNs, SECOND};
use crate::wire::http::Posts;

/// Path of the call that reloads the configuration file.
pub(crate) const RELOAD_PATH: &str = "/api/admin/reload";
/// Path of the call that changes the set.
pub(crate) const SET_PATH: &str = "/api/admin/set";
/// Path of the call that retries connections to venues immediately.
pub(crate) const RETRY_PATH: &str = "/api/admin/retry";
/// Largest body of an admin call in bytes.
pub(crate) const BODY_MAX: usize = 64 * 1024;
/// Paths that accept POST.
pub(crate) const POSTS: Posts = Posts::Only(&[RELOAD_PATH, SET_PATH, RETRY_PATH]);
/// Most calls that wait.
const ORDERS_MAX: usize = 16;

/// What a caller requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Apply the configuration file as it is now.
    Reload,
    /// Add and remove names.
    Set(SetWish),
    /// Retry these exchanges immediately.
    Retry(RetryWish),
}

/// One call.
pub struct Order {
    /// What is requested.
    pub wish: Wish,
    /// Report what would change, and change nothing.
    pub(crate) is_dry: bool,
    ticket: Ticket,
    replies: Sender<(Ticket, Outcome)>,
    alarm: Alarm,
}

/// The sender of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The client.
    pub client: ClientId,
    /// Whether the connection stays open after the response.
    pub(crate) keep_alive: bool,
}

impl Order {
    /// Responds to it.
    pub fn reply(self, outcome: Outcome) {
        // Fails only if the gateway has stopped.
        let _ = self.replies.try_send((self.ticket, outcome));
        self.alarm.ring();
    }
}

/// Sends admin calls of all gateways to the part that carries them out.
#[derive(Clone)]
pub struct AdminPort {
    token: String,
    orders: Sender<Order>,
    /// Wrong tokens by address, for all gateways.
    guesses: Arc<Mutex<Guesses>>,
}

impl AdminPort {
    /// For callers with `token`; the second value receives their calls.
    #[must_use]
    pub fn new(token: String) -> (Self, Receiver<Order>) {
        let (orders, inbox) = bounded(ORDERS_MAX);
        (Self { token, orders, guesses: Arc::default() }, inbox)
    }
}

/// The admin calls of one gateway.
pub(crate) struct AdminCalls {
    port: AdminPort,
    replies: Sender<(Ticket, Outcome)>,
    answers: Receiver<(Ticket, Outcome)>,
    alarm: Alarm,
}

impl AdminCalls {
    /// For the gateway that `alarm` wakes when a response arrives.
    #[must_use]
    pub fn new(port: AdminPort, alarm: Alarm) -> Self {
        // One for each waiting call, and one for the call being carried out.
        let (replies, answers) = bounded(ORDERS_MAX + 1);
        Self { port, replies, answers, alarm }
    }

    /// Checks a call of `caller` with `authorization`, the value of that header.
    ///
    /// # Errors
    /// [`Refused`]: the token is wrong, or too many calls of this caller had a wrong token.
    pub(crate) fn admit(&self, authorization: &str, caller: Caller, now: MonoNs) -> Result<(), Refused> {
        // Held only for a lookup, and only for calls of admin paths.
        let mut guesses = self.port.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let wait_ns = guesses.wait_ns(caller, now);
        if wait_ns > 0 {
            return Err(Refused::TooMany { retry_after_s: wait_ns.div_ceil(SECOND) });
        }
        if !self.admits(authorization) {
            guesses.note(caller, now);
            return Err(Refused::Unauthorized);
        }
        guesses.forget(caller);
        Ok(())
    }

    /// Whether `authorization` contains the token. Takes the same time for a wrong one as for the right one.
    fn admits(&self, authorization: &str) -> bool {
        let (scheme, token) = authorization.split_once(' ').unwrap_or(("", ""));
        let (mine, theirs) = (self.port.token.as_bytes(), token.trim().as_bytes());
        let differing = (0..mine.len()).fold(mine.len() ^ theirs.len(), |differing, at| {
            differing | usize::from(mine[at] ^ theirs.get(at).copied().unwrap_or(0))
        });
        scheme.eq_ignore_ascii_case("Bearer") & (differing == 0)
    }

    /// Forwards a call. `false` if too many wait.
    #[must_use]
    pub fn forward(&self, wish: Wish, is_dry: bool, ticket: Ticket) -> bool {
        let (replies, alarm) = (self.replies.clone(), self.alarm.clone());
        self.port.orders.try_send(Order { wish, is_dry, ticket, replies, alarm }).is_ok()
    }

    /// The next response, if one has arrived.
    #[must_use]
    pub fn take(&self) -> Option<(Ticket, Outcome)> {
        self.answers.try_recv().ok()
    }

    /// Whether a response waits.
    #[must_use]
    pub(crate) fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }
}

/// Why a call is refused before it is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is missing or wrong.
    Unauthorized,
    /// Too many calls from this address had a wrong token; further ones are refused for some seconds.
    TooMany {
        /// Seconds, rounded up.
        retry_after_s: u64,
    },
}

/// Most callers whose wrong tokens are counted.
const GUESSERS_MAX: usize = 1024;
/// Wrong tokens of one address that have no consequence: operators make typing errors.
const GUESSES_FREE: u32 = 3;
/// The longest that an address must wait; each wrong token doubles the wait, from one second.
const WAIT_MAX_NS: u64 = 64 * SECOND;
/// Wrong tokens through one proxy before all its callers must wait: the addresses that it reports may be made up by its
/// clients.
const PROXIED_FREE: u32 = 100;
/// How long they wait: short, because this also delays callers that made no mistake.
const PROXIED_WAIT_NS: u64 = SECOND;
/// The count of a caller is reset after this time without a mistake.
const FORGET_NS: u64 = 900 * SECOND;

/// A source of wrong tokens that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guesser {
    /// One client, or all clients whose address is unknown.
    Client(Option<IpAddr>),
    /// All callers through a proxy.
    Proxy(IpAddr),
}

impl Guesser {
    fn of(caller: Caller) -> impl Iterator<Item = Self> {
        let client = Self::Client(caller.address.map(one_client));
        std::iter::once(client).chain(caller.proxy.map(Self::Proxy))
    }

    /// How long it must wait after its `count`th wrong token.
    fn wait_ns(self, count: u32) -> u64 {
        match self {
            Self::Client(_) => {
                let doublings = count.checked_sub(GUESSES_FREE + 1);
                doublings.map_or(0, |n| doubled(SECOND, n, WAIT_MAX_NS))
            }
            Self::Proxy(_) if count > PROXIED_FREE => PROXIED_WAIT_NS,
            Self::Proxy(_) => 0,
        }
    }
}

/// Wrong tokens by caller, which limits how fast tokens can be guessed. Pure.
#[derive(Default)]
pub(crate) struct Guesses {
    /// Number of wrong tokens, and the time of the last.
    by_guesser: FxHashMap<Guesser, (u32, MonoNs)>,
}

impl Guesses {
    /// How long calls of `caller` are still refused, in nanoseconds.
    fn wait_ns(&self, caller: Caller, now: MonoNs) -> u64 {
        let wait = |guesser: Guesser| match self.by_guesser.get(&guesser) {
            Some((count, last)) if now.since(*last) <= FORGET_NS => {
                guesser.wait_ns(*count).saturating_sub(now.since(*last))
            }
            _ => 0,
        };
        Guesser::of(caller).map(wait).max().unwrap_or(0)
    }

    fn note(&mut self, caller: Caller, now: MonoNs) {
        for guesser in Guesser::of(caller) {
            if self.by_guesser.len() >= GUESSERS_MAX && !self.by_guesser.contains_key(&guesser) {
                // Evicts the one whose last mistake is oldest.
                let oldest = self.by_guesser.iter().min_by_key(|(_, (_, last))| *last).map(|(guesser, _)| *guesser);
                oldest.map(|guesser| self.by_guesser.remove(&guesser));
            }
            let (count, last) = self.by_guesser.entry(guesser).or_insert((0, now));
            *count = if now.since(*last) > FORGET_NS { 1 } else { count.saturating_add(1) };
            *last = now;
        }
    }

    /// The caller has the token. Other callers through the same proxy still count.
    fn forget(&mut self, caller: Caller) {
        self.by_guesser.remove(&Guesser::Client(caller.address.map(one_client)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(address: IpAddr) -> Caller {
        Caller { address: Some(address), proxy: None }
    }

    #[test]
    fn callers_through_a_proxy_wait_separately_and_after_many_mistakes_together() {
        let mut guesses = Guesses::default();
        let proxied = |n: u32| Caller { address: Some(IpAddr::V4(n.into())), proxy: Some([10, 0, 0, 1].into()) };
        for _ in 0..=GUESSES_FREE {
            guesses.note(proxied(1), MonoNs(1));
        }
        assert_eq!((guesses.wait_ns(proxied(1), MonoNs(1)), guesses.wait_ns(proxied(2), MonoNs(1))), (SECOND, 0));
        // A client that makes up a new address each time is delayed with all others behind that proxy, and no others.
        for n in 0..PROXIED_FREE {
            guesses.note(proxied(100 + n), MonoNs(1));
        }
        assert_eq!(guesses.wait_ns(proxied(2), MonoNs(1)), PROXIED_WAIT_NS);
        assert_eq!(guesses.wait_ns(proxied(2), MonoNs(1 + PROXIED_WAIT_NS)), 0);
        assert_eq!(guesses.wait_ns(direct([10, 0, 0, 1].into()), MonoNs(1)), 0);
        guesses.forget(proxied(1));
        assert_eq!(guesses.wait_ns(proxied(1), MonoNs(1)), PROXIED_WAIT_NS);
    }

    #[test]
    fn each_wrong_token_doubles_the_wait_of_its_address_only() {
        let (port, _orders) = AdminPort::new("0123456789abcdef".into());
        let gateways = [0; 2].map(|_| AdminCalls::new(port.clone(), Alarm::of_parker().0));
        let (guesser, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = MonoNs(SECOND);
        let ask = |token: &str, peer, now: MonoNs| {
            gateways[now.0 as usize % 2].admit(&format!("Bearer {token}"), direct(peer), now)
        };
        for _ in 0..=GUESSES_FREE {
            assert_eq!(ask("wrong", guesser, now), Err(Refused::Unauthorized));
            now = now.plus(1);
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let Err(Refused::TooMany { retry_after_s }) = ask("0123456789abcdef", guesser, now) else { panic!() };
            assert_eq!(ask("0123456789abcdef", other, now), Ok(()), "of another address");
            waits.push(retry_after_s);
            now = now.plus(retry_after_s * SECOND);
            assert_eq!(ask("wrong", guesser, now), Err(Refused::Unauthorized), "one more try");
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64]);
        now = now.plus(64 * SECOND);
        assert_eq!(ask("0123456789abcdef", guesser, now), Ok(()));
        assert_eq!(ask("wrong", guesser, now), Err(Refused::Unauthorized), "and the count is reset");
        assert_eq!(ask("0123456789abcdef", guesser, now), Ok(()));
    }

    #[test]
    fn the_table_is_bounded_and_an_ipv6_network_counts_as_one() {
        let mut guesses = Guesses::default();
        for n in 0..5000u128 {
            guesses.note(direct(IpAddr::V6((n << 64 | n).into())), MonoNs(n as u64));
        }
        assert_eq!(guesses.by_guesser.len(), GUESSERS_MAX);
        for n in 0..10u128 {
            guesses.note(direct(IpAddr::V6((77 << 64 | n).into())), MonoNs(6000));
        }
        assert!(guesses.wait_ns(direct(IpAddr::V6((77u128 << 64 | 99).into())), MonoNs(6000)) > 0);
    }

    #[test]
    fn only_the_token_is_admitted() {
        let (port, _orders) = AdminPort::new("0123456789abcdef".into());
        let calls = AdminCalls::new(port, Alarm::of_parker().0);
        assert!(calls.admits("Bearer 0123456789abcdef") && calls.admits("bearer 0123456789abcdef"));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer 0123456789abcdeF",
            "Bearer 0123456789abcdef0",
            "Bearer 0123456789abcde",
            "Basic 0123456789abcdef",
            "0123456789abcdef",
        ] {
            assert!(!calls.admits(wrong), "{wrong}");
        }
    }

    #[test]
    fn calls_above_the_limit_are_refused() {
        let (port, orders) = AdminPort::new("0123456789abcdef".into());
        let calls = AdminCalls::new(port, Alarm::of_parker().0);
        let ticket = Ticket { client: ClientId { key: 1, generation: 2 }, keep_alive: true };
        let taken = (0..100).filter(|_| calls.forward(Wish::Reload, true, ticket)).count();
        assert_eq!(taken, ORDERS_MAX);
        orders.try_iter().for_each(|order| order.reply(Outcome::default()));
        assert_eq!(std::iter::from_fn(|| calls.take()).count(), ORDERS_MAX);
    }
}
