//! The life cycle of an opportunity, for clients that subscribe to it: `opportunity` messages, and the page of open and
//! closed opportunities. Both contain the same object.

use crate::market::opportunity::{Class, CloseReason, Coexistence, LegSide, Percent, Proof};
use crate::market::quote::ExcessLag;
use crate::market::{Decimal, Figure};
use crate::protocol::survival::SurvivalOf;
use crate::protocol::{Object, array, object};

/// What happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpportunityUpdate {
    /// It is new, or new to this client.
    Opened,
    /// It is still open with other prices, sizes or ages.
    Updated,
    /// It has ended for this reason, and was this; the prices are those at the end.
    Closed(CloseReason, Class),
}

impl OpportunityUpdate {
    /// The word in messages.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Updated => "updated",
            Self::Closed(..) => "closed",
        }
    }
}

/// An opportunity at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// What happened.
    pub change: OpportunityUpdate,
    /// Unique within this process; never changes.
    pub id: &'a str,
    /// Symbol as a JSON string including quotes, in the client's own spelling.
    pub symbol: &'a [u8],
    /// Name of the exchange whose ask is paid.
    pub buy_exchange: &'a str,
    /// Name of the exchange whose bid is hit.
    pub sell_exchange: &'a str,
    /// The ask.
    pub buy: Decimal,
    /// The bid.
    pub sell: Decimal,
    /// `(sell − buy) / buy × 100`.
    pub(crate) spread_pct: Percent,
    /// The same after both taker fees.
    pub(crate) net_spread_pct: Percent,
    /// Net spread at which the route usually stands, if that is more than half of the threshold.
    pub basis_pct: Option<Percent>,
    /// The smaller of the two sizes, in base.
    pub(crate) executable_size: Decimal,
    /// Milliseconds since the buy leg and the sell leg were read; for a closed opportunity, at its end.
    pub(crate) ages_ms: [u64; 2],
    /// Unix milliseconds of its opening; never changes.
    pub(crate) opened_at: u64,
    /// Milliseconds from its opening until now, or until it closed.
    pub(crate) lived_ms: u64,
    /// Largest spread so far, before fees.
    pub(crate) peak_spread_pct: Percent,
    /// The group that it belongs to.
    pub group: GroupOf<'a>,
    /// Whether its legs coexisted, and how late they were.
    pub(crate) evidence: ProofOf,
    /// How long such opportunities lived, if any has ended.
    pub survival: Option<SurvivalOf>,
    /// Source of the numbers: simulated if either leg is, otherwise a replay if either leg is.
    pub source: &'a str,
    /// Unix milliseconds: now, or when it closed.
    pub timestamp: u64,
}

/// A group of opportunities with one cause: the price of one venue moved, and each other venue forms an opportunity
/// with it.
#[derive(Clone, Copy, Debug)]
pub struct GroupOf<'a> {
    /// Id of the opportunity that represents the group, equal for all members.
    pub leader: &'a str,
    /// The leg that all members share.
    pub leg: LegSide,
    /// Number of open members after the whole event: equal in all messages about one scan.
    pub size: u32,
}

impl GroupOf<'_> {
    /// Adds its members to a message.
    pub(super) fn write(&self, object: &mut Object<'_>) {
        object.text("group", self.leader).text("groupLeg", self.leg.word()).integer("groupSize", self.size.into());
    }
}

/// Evidence for an opportunity: whether its legs coexisted, and how late they were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProofOf {
    /// Whether both legs could have been hit at the same moment.
    pub coexistence: Coexistence,
    /// How much later than usual the buy leg arrived.
    pub(crate) buy_excess: ExcessLag,
    /// The same for the sell leg.
    pub(crate) sell_excess: ExcessLag,
}

impl ProofOf {
    /// Adds its members to a message.
    pub(super) fn write(&self, object: &mut Object<'_>) {
        let Coexistence { proof, length_ns, error_ns, .. } = self.coexistence;
        object.text("proof", proof.word());
        let length_us = (proof == Proof::Proven).then_some(length_ns / 1000);
        milliseconds(length_us, object.key("proofMs"));
        milliseconds(error_ns.map(|ns| ns.div_ceil(1000)), object.key("proofErrorMs"));
        milliseconds(self.buy_excess.us(), object.key("buyExcessLagMs"));
        milliseconds(self.sell_excess.us(), object.key("sellExcessLagMs"));
    }
}

/// Appends microseconds as milliseconds with up to three decimals, or `null`.
pub(super) fn milliseconds(us: Option<u64>, out: &mut Vec<u8>) {
    match us {
        Some(us) => Figure::new(false, us.into(), 3).write(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends an `opportunity` message.
pub fn opportunity(moment: &Moment<'_>, out: &mut Vec<u8>) {
    let mut o = Object::open(out);
    o.text("type", "opportunity").text("change", moment.change.word()).text("id", moment.id);
    o.key("symbol").extend_from_slice(moment.symbol);
    o.text("buyExchange", moment.buy_exchange).text("sellExchange", moment.sell_exchange);
    moment.buy.write(o.key("buyPrice"));
    moment.sell.write(o.key("sellPrice"));
    o.percent("spreadPct", moment.spread_pct).percent("netSpreadPct", moment.net_spread_pct);
    if let Some(basis) = moment.basis_pct {
        o.percent("basisPct", basis);
    }
    moment.executable_size.write(o.key("executableSize"));
    o.integer("buyAgeMs", moment.ages_ms[0]).integer("sellAgeMs", moment.ages_ms[1]);
    o.integer("openedAt", moment.opened_at).integer("livedMs", moment.lived_ms);
    o.percent("peakSpreadPct", moment.peak_spread_pct);
    moment.group.write(&mut o);
    moment.evidence.write(&mut o);
    if let OpportunityUpdate::Closed(reason, class) = moment.change {
        o.text("reason", reason.word()).text("class", class.word());
    }
    moment.survival.iter().for_each(|survival| survival.write(&mut o));
    o.text("source", moment.source);
    o.integer("timestamp", moment.timestamp);
    o.close();
}

/// The body of `/api/opportunities`: open opportunities, then closed ones, newest first. `write` appends one object.
#[must_use]
pub fn page<T>(
    open: impl Iterator<Item = T>,
    closed: impl Iterator<Item = T>,
    write: impl Fn(T, &mut Vec<u8>),
) -> Vec<u8> {
    object(|root| {
        array(open, root.key("open"), &write);
        array(closed, root.key("closed"), &write);
    })
}
