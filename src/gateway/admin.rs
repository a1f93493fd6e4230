//! Admin calls as the gateway hands them on: it knows who may call, and nothing of what a change takes. The answer comes
//! back by a channel; nobody waits for it on the gateway's thread.

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::protocol::admin::{SetWish, Told};
use crate::stage::Alarm;

/// Path of the call that has the file read again.
pub const RELOAD_PATH: &str = "/api/admin/reload";
/// Path of the call that changes the set.
pub const SET_PATH: &str = "/api/admin/set";
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
}

impl Port {
    /// For callers that bear `token`, and where their orders arrive.
    #[must_use]
    pub fn new(token: String) -> (Self, Receiver<Order>) {
        let (orders, inbox) = bounded(ORDERS_MAX);
        (Self { token, orders }, inbox)
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

    /// Whether `authorization`, the value of that header line, bears the token. Takes as long for a wrong one as for the
    /// right one.
    #[must_use]
    pub fn admits(&self, authorization: &str) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

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
