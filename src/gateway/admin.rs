//! Admin calls as the gateway hands them on: it knows who may call, and nothing of what a change takes. The answer comes
//! back by a channel; nobody waits for it on the gateway's thread.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam::channel::{Receiver, Sender, bounded};
use rustc_hash::FxHashMap;

use crate::protocol::admin::{RetryWish, SetWish, Told};
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
    replies: Sender<(Ticket, Told)>,
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
    pub fn reply(self, told: Told) {
        // A gateway that takes no answers is gone.
        let _ = self.replies.try_send((self.ticket, told));
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
    replies: Sender<(Ticket, Told)>,
    answers: Receiver<(Ticket, Told)>,
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

    /// Whether a call from `peer` with `authorization`, the value of that header line, may be carried out.
    ///
    /// # Errors
    /// [`Refused`]: it does not bear the token, or too many calls from that address did not.
    pub fn admit(&self, authorization: &str, peer: Option<IpAddr>, now: MonoNs) -> Result<(), Refused> {
        // Held for a look-up only, and only by callers of admin paths.
        let mut guesses = self.port.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        let wait_ns = guesses.wait_ns(peer, now);
        if wait_ns > 0 {
            return Err(Refused::TooMany { retry_after_s: wait_ns.div_ceil(SECOND) });
        }
        if !self.admits(authorization) {
            guesses.note(peer, now);
            return Err(Refused::Unauthorized);
        }
        guesses.forget(peer);
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
    pub fn take(&self) -> Option<(Ticket, Told)> {
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

/// Addresses whose wrong tokens are remembered.
const GUESSERS_MAX: usize = 1024;
/// Wrong tokens of one address before it must wait: an operator mistypes.
const GUESSES_FREE: u32 = 3;
/// The longest that an address must wait; each wrong token doubles the wait, from one second.
const WAIT_MAX_NS: u64 = 64 * SECOND;
/// An address that made no mistake for so long begins anew.
const FORGET_NS: u64 = 900 * SECOND;

/// Wrong tokens by address, so that nobody tries thousands a second. Pure.
#[derive(Default)]
pub struct Guesses {
    /// How many, and when the last.
    by_address: FxHashMap<Option<IpAddr>, (u32, MonoNs)>,
}

impl Guesses {
    /// How long `peer` must wait before its next try is looked at.
    fn wait_ns(&self, peer: Option<IpAddr>, now: MonoNs) -> u64 {
        let Some((count, last)) = self.by_address.get(&network(peer)) else { return 0 };
        if now.since(*last) > FORGET_NS {
            return 0;
        }
        let doublings = count.checked_sub(GUESSES_FREE + 1);
        let wait = doublings.map_or(0, |n| SECOND.saturating_mul(1 << n.min(30)).min(WAIT_MAX_NS));
        wait.saturating_sub(now.since(*last))
    }

    fn note(&mut self, peer: Option<IpAddr>, now: MonoNs) {
        let peer = network(peer);
        if self.by_address.len() >= GUESSERS_MAX && !self.by_address.contains_key(&peer) {
            // The one whose last mistake is the longest ago.
            let oldest = self.by_address.iter().min_by_key(|(_, (_, last))| *last).map(|(address, _)| *address);
            oldest.map(|address| self.by_address.remove(&address));
        }
        let (count, last) = self.by_address.entry(peer).or_insert((0, now));
        *count = if now.since(*last) > FORGET_NS { 1 } else { count.saturating_add(1) };
        *last = now;
    }

    fn forget(&mut self, peer: Option<IpAddr>) {
        self.by_address.remove(&network(peer));
    }
}

/// What one caller has of addresses: of IPv6, usually a whole network of 64 bits.
fn network(peer: Option<IpAddr>) -> Option<IpAddr> {
    match peer?.to_canonical() {
        IpAddr::V6(address) => Some(IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into())),
        address @ IpAddr::V4(_) => Some(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_make_their_address_wait_longer_and_longer_and_no_other() {
        let (port, _orders) = Port::new("0123456789abcdef".into());
        let desks = [0; 2].map(|_| Desk::new(port.clone(), Alarm::of_parker().0));
        let (guesser, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let mut now = MonoNs(SECOND);
        let ask = |token: &str, peer, now: MonoNs| {
            desks[now.0 as usize % 2].admit(&format!("Bearer {token}"), Some(peer), now)
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
            guesses.note(Some(IpAddr::V6((n << 64 | n).into())), MonoNs(n as u64));
        }
        assert_eq!(guesses.by_address.len(), GUESSERS_MAX);
        for n in 0..10u128 {
            guesses.note(Some(IpAddr::V6((77 << 64 | n).into())), MonoNs(6000));
        }
        assert!(guesses.wait_ns(Some(IpAddr::V6((77u128 << 64 | 99).into())), MonoNs(6000)) > 0);
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
        orders.try_iter().for_each(|order| order.reply(Told::default()));
        assert_eq!(std::iter::from_fn(|| desk.take()).count(), ORDERS_MAX);
    }
}
