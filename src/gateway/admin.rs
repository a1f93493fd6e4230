//! Admin calls as the gateway hands them on: it knows who may call, and nothing of what a change takes. The answer comes
//! back by a channel; nobody waits for it on the gateway's thread.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, bounded};
use rustc_hash::FxHashMap;

use crate::net::backoff::doubled;
use crate::net::listen::{Caller, one_client};
use crate::protocol::admin::{Outcome, RetryWish, SetWish};
use crate::stage::Alarm;
use crate::time::{MonoNs, SECOND};

/// Path of the call that has the file read again.
pub const RELOAD_PATH: &str = "/api/admin/reload";
/// Path of the call that changes the set.
pub const SET_PATH: &str = "/api/admin/set";
/// Path of the call that has venues tried again at once.
pub const RETRY_PATH: &str = "/api/admin/retry";
/// Largest body of an admin call in bytes.
pub const BODY_MAX: usize = 64 * 1024;
/// Calls that may wait for their turn.
const ORDERS_MAX: usize = 16;

/// What is wished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// What the file says now.
    Reload,
    /// Names that come and go.
    Set(SetWish),
    /// Try these exchanges at once.
    Retry(RetryWish),
}

/// One call.
pub struct Order {
    /// What is wished.
    pub wish: Wish,
    /// Only what would change.
    pub is_dry: bool,
    ticket: Ticket,
    replies: Sender<(Ticket, Outcome)>,
    alarm: Alarm,
}

/// Whose call it is: the client's place, and which tenant of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Key of the client.
    pub key: u32,
    /// See [`super::client::Client::generation`].
    pub generation: u32,
    /// Whether the connection stays open after the answer.
    pub keep_alive: bool,
}

impl Order {
    /// Answers it.
    pub fn reply(self, outcome: Outcome) {
        // A gateway that takes no answers is gone.
        let _ = self.replies.try_send((self.ticket, outcome));
        self.alarm.ring();
    }
}

/// The way of all gateways to whoever carries out admin calls.
#[derive(Clone)]
pub struct Port {
    token: String,
    orders: Sender<Order>,
    /// Wrong tokens by address, shared by all gateways.
    guesses: Arc<Mutex<Guesses>>,
}

impl Port {
    /// For callers that bear `token`, and where their orders arrive.
    #[must_use]
    pub fn new(token: String) -> (Self, Receiver<Order>) {
        let (orders, inbox) = bounded(ORDERS_MAX);
        (Self { token, orders, guesses: Arc::default() }, inbox)
    }
}

/// One gateway's end of it.
pub struct Desk {
    port: Port,
    replies: Sender<(Ticket, Outcome)>,
    answers: Receiver<(Ticket, Outcome)>,
    alarm: Alarm,
}

impl Desk {
    /// For the gateway that `alarm` wakes.
    #[must_use]
    pub fn new(port: Port, alarm: Alarm) -> Self {
        // No more answers than orders that wait, and the one that is carried out.
        let (replies, answers) = bounded(ORDERS_MAX + 1);
        Self { port, replies, answers, alarm }
    }

    /// Whether a call of `caller` with `authorization`, the value of that header line, may be carried out.
    ///
    /// # Errors
    /// [`Refused`]: it does not bear the token, or too many calls of that caller did not.
    pub fn admit(&self, authorization: &str, caller: Caller, now: MonoNs) -> Result<(), Refused> {
        // Held for a look-up only, and only by callers of admin paths.
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

    /// Whether `authorization` bears the token. Takes as long for a wrong one as for the right one.
    fn admits(&self, authorization: &str) -> bool {
        let (scheme, token) = authorization.split_once(' ').unwrap_or(("", ""));
        let (mine, theirs) = (self.port.token.as_bytes(), token.trim().as_bytes());
        let differing = (0..mine.len()).fold(mine.len() ^ theirs.len(), |differing, at| {
            differing | usize::from(mine[at] ^ theirs.get(at).copied().unwrap_or(0))
        });
        scheme.eq_ignore_ascii_case("Bearer") & (differing == 0)
    }

    /// Hands on a call. `false` when too many wait.
    #[must_use]
    pub fn hand_on(&self, wish: Wish, is_dry: bool, ticket: Ticket) -> bool {
        let (replies, alarm) = (self.replies.clone(), self.alarm.clone());
        self.port.orders.try_send(Order { wish, is_dry, ticket, replies, alarm }).is_ok()
    }

    /// The next answer, if one has come.
    #[must_use]
    pub fn take(&self) -> Option<(Ticket, Outcome)> {
        self.answers.try_recv().ok()
    }

    /// Whether an answer waits.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        !self.answers.is_empty()
    }
}

/// Why a call is refused before anybody looks at what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The token is missing or wrong.
    Unauthorized,
    /// Too many calls from this address bore a wrong one; the next is looked at after so many seconds.
    TooMany {
        /// Seconds, rounded up.
        retry_after_s: u64,
    },
}

/// Callers whose wrong tokens are remembered.
const GUESSERS_MAX: usize = 1024;
/// Wrong tokens of one address before it must wait: an operator mistypes.
const GUESSES_FREE: u32 = 3;
/// The longest that an address must wait; each wrong token doubles the wait, from one second.
const WAIT_MAX_NS: u64 = 64 * SECOND;
/// Wrong tokens through one proxy before its callers must wait, whatever addresses it names: it may pass on what its clients
/// made up.
const PROXIED_FREE: u32 = 100;
/// How long they wait: short, because this wait also holds up callers that made no mistake.
const PROXIED_WAIT_NS: u64 = SECOND;
/// A caller that made no mistake for so long begins anew.
const FORGET_NS: u64 = 900 * SECOND;

/// Whose wrong tokens are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Guesser {
    /// One client, or all whose address is not known.
    Client(Option<IpAddr>),
    /// All that came through a proxy.
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

/// Wrong tokens by caller, so that nobody tries thousands a second. Pure.
#[derive(Default)]
pub struct Guesses {
    /// How many, and when the last.
    by_guesser: FxHashMap<Guesser, (u32, MonoNs)>,
}

impl Guesses {
    /// How long `caller` must wait before its next try is looked at.
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
                // The one whose last mistake is the longest ago.
                let oldest = self.by_guesser.iter().min_by_key(|(_, (_, last))| *last).map(|(guesser, _)| *guesser);
                oldest.map(|guesser| self.by_guesser.remove(&guesser));
            }
            let (count, last) = self.by_guesser.entry(guesser).or_insert((0, now));
            *count = if now.since(*last) > FORGET_NS { 1 } else { count.saturating_add(1) };
            *last = now;
        }
    }

    /// The caller bears the token; others that came through the same proxy still count.
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
    fn addresses_that_a_proxy_names_wait_each_by_itself_and_together_after_many() {
        let mut guesses = Guesses::default();
        let proxied = |n: u32| Caller { address: Some(IpAddr::V4(n.into())), proxy: Some([10, 0, 0, 1].into()) };
        for _ in 0..=GUESSES_FREE {
            guesses.note(proxied(1), MonoNs(1));
        }
        assert_eq!((guesses.wait_ns(proxied(1), MonoNs(1)), guesses.wait_ns(proxied(2), MonoNs(1))), (SECOND, 0));
        // A client that makes up another address each time is held up with all others behind that proxy, and no other.
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
    fn wrong_tokens_make_their_address_wait_longer_and_longer_and_no_other() {
        let (port, _orders) = Port::new("0123456789abcdef".into());
        let desks = [0; 2].map(|_| Desk::new(port.clone(), Alarm::of_parker().0));
        let (guesser, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = MonoNs(SECOND);
        let ask = |token: &str, peer, now: MonoNs| {
            desks[now.0 as usize % 2].admit(&format!("Bearer {token}"), direct(peer), now)
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
        assert_eq!(ask("wrong", guesser, now), Err(Refused::Unauthorized), "and it begins anew");
        assert_eq!(ask("0123456789abcdef", guesser, now), Ok(()));
    }

    #[test]
    fn the_table_of_guessers_is_bounded_and_a_network_is_one() {
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
        let (port, _orders) = Port::new("0123456789abcdef".into());
        let desk = Desk::new(port, Alarm::of_parker().0);
        assert!(desk.admits("Bearer 0123456789abcdef") && desk.admits("bearer 0123456789abcdef"));
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
            assert!(!desk.admits(wrong), "{wrong}");
        }
    }

    #[test]
    fn more_calls_than_can_wait_are_refused() {
        let (port, orders) = Port::new("0123456789abcdef".into());
        let desk = Desk::new(port, Alarm::of_parker().0);
        let ticket = Ticket { key: 1, generation: 2, keep_alive: true };
        let taken = (0..100).filter(|_| desk.hand_on(Wish::Reload, true, ticket)).count();
        assert_eq!(taken, ORDERS_MAX);
        orders.try_iter().for_each(|order| order.reply(Outcome::default()));
        assert_eq!(std::iter::from_fn(|| desk.take()).count(), ORDERS_MAX);
    }
}
