//! Messages to a `/ws/prices` client: `price`, `arbitrage`, `subscribed`, `unsubscribed`, `error`. The first fields are
//! those of system 1 in its order; fields for extended clients come after them.

use crate::market::opportunity::Percent;
use crate::market::quote::ExcessLag;
use crate::market::{Decimal, Figure, Level};
use crate::protocol::opportunity::{GroupOf, ProofOf, milliseconds};
use crate::protocol::survival::SurvivalOf;
use crate::protocol::{Object, float, integer};

/// The best bid and ask of one symbol on one exchange. Names are JSON strings including quotes, in the client's own
/// spelling.
#[derive(Clone, Copy, Debug)]
pub struct Price<'a> {
    /// Symbol.
    pub symbol: &'a [u8],
    /// Exchange.
    pub exchange: &'a [u8],
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
    /// Unix milliseconds: the venue's timestamp, or the time at which we read it.
    pub timestamp: u64,
    /// Additional fields for extended clients.
    pub more: Option<PriceMore>,
}

/// Additional fields of a price for extended clients.
#[derive(Clone, Copy, Debug)]
pub struct PriceMore {
    /// Sequence number of the change within the pair; only grows.
    pub seq: u64,
    /// Source of the number.
    pub source: &'static str,
    /// How it reached this process: `websocket` (own connection), `shared` (the leader's), `redis_cache`,
    /// `local_cache`.
    pub level: &'static str,
    /// `fresh`, `stale`, `suspect`, or `cached` for a last known value that is no longer valid as a price.
    pub state: &'static str,
    /// Milliseconds since it was read from the venue's socket.
    pub age_ms: u64,
    /// `CLOCK_MONOTONIC` nanoseconds of that read.
    pub(crate) received_ns: u64,
    /// How much later than usual it arrived.
    pub excess: ExcessLag,
}

/// Appends a `price` message.
pub fn price(price: &Price<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"type\":\"price\",\"symbol\":");
    out.extend_from_slice(price.symbol);
    out.extend_from_slice(b",\"exchange\":");
    out.extend_from_slice(price.exchange);
    out.extend_from_slice(b",\"bid\":");
    price.bid.price.write(out);
    out.extend_from_slice(b",\"ask\":");
    price.ask.price.write(out);
    out.extend_from_slice(b",\"timestamp\":");
    integer(price.timestamp, out);
    if let Some(more) = &price.more {
        out.extend_from_slice(b",\"bidSize\":");
        price.bid.size.write(out);
        out.extend_from_slice(b",\"askSize\":");
        price.ask.size.write(out);
        out.extend_from_slice(b",\"seq\":");
        integer(more.seq, out);
        out.extend_from_slice(b",\"source\":\"");
        out.extend_from_slice(more.source.as_bytes());
        out.extend_from_slice(b"\",\"level\":\"");
        out.extend_from_slice(more.level.as_bytes());
        out.extend_from_slice(b"\",\"state\":\"");
        out.extend_from_slice(more.state.as_bytes());
        out.extend_from_slice(b"\",\"ageMs\":");
        integer(more.age_ms, out);
        out.extend_from_slice(b",\"receivedNs\":");
        integer(more.received_ns, out);
        out.extend_from_slice(b",\"excessLagMs\":");
        milliseconds(more.excess.us(), out);
    }
    out.push(b'}');
}

/// An opportunity: buy on one exchange, sell on another.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// Symbol as a JSON string, in the client's own spelling.
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
    /// Unix milliseconds: now.
    pub timestamp: u64,
    /// Additional fields for extended clients.
    pub more: Option<AlertMore<'a>>,
}

/// Additional fields of an opportunity for extended clients.
#[derive(Clone, Copy, Debug)]
pub struct AlertMore<'a> {
    /// Spread after both taker fees, in percent of the buy price.
    pub(crate) net_spread_pct: Percent,
    /// Net spread at which the route usually stands, if that is more than half of the threshold.
    pub basis_pct: Option<Percent>,
    /// The smaller of the two sizes, in base.
    pub(crate) executable_size: Decimal,
    /// Milliseconds since the buy leg was read.
    pub buy_age_ms: u64,
    /// Milliseconds since the sell leg was read.
    pub sell_age_ms: u64,
    /// Source of the numbers: simulated if either leg is, otherwise a replay if either leg is.
    pub source: &'static str,
    /// Id of its `opportunity` messages.
    pub id: &'a str,
    /// The group that it belongs to.
    pub group: GroupOf<'a>,
    /// Whether its legs coexisted, and how late they were.
    pub(crate) evidence: ProofOf,
    /// How long such opportunities lived, if any has ended.
    pub survival: Option<SurvivalOf>,
}

/// Appends an `arbitrage` message. `profit` is for 100 units of base before fees, as in system 1.
pub fn alert(alert: &Alert<'_>, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("type", "arbitrage");
    object.key("symbol").extend_from_slice(alert.symbol);
    object.text("buyExchange", alert.buy_exchange).text("sellExchange", alert.sell_exchange);
    alert.buy.write(object.key("buyPrice"));
    alert.sell.write(object.key("sellPrice"));
    object.percent("spreadPct", alert.spread_pct);
    Figure::difference(alert.sell, alert.buy).times(100).write(object.key("profit"));
    object.integer("timestamp", alert.timestamp);
    if let Some(more) = &alert.more {
        object.percent("netSpreadPct", more.net_spread_pct);
        if let Some(basis) = more.basis_pct {
            object.percent("basisPct", basis);
        }
        more.executable_size.write(object.key("executableSize"));
        object.integer("buyAgeMs", more.buy_age_ms).integer("sellAgeMs", more.sell_age_ms);
        object.text("source", more.source).text("id", more.id);
        more.group.write(&mut object);
        more.evidence.write(&mut object);
        more.survival.iter().for_each(|survival| survival.write(&mut object));
    }
    object.close();
}

/// Members of messages that contain a current age.
const AGES: [&[u8]; 3] = [b"\"ageMs\":", b"\"buyAgeMs\":", b"\"sellAgeMs\":"];
/// Present in the message that closes an opportunity. Its ages are those at the end, so they do not grow.
const PAST: &[u8] = b"\"change\":\"closed\"";

/// Appends `text`, a message built by this module or its siblings, with all ages increased by `by_ms` milliseconds.
/// Returns `false` and appends nothing if the message has no current age. A name in the message cannot be mistaken for
/// a member because quotes in names are escaped.
pub fn older(text: &[u8], by_ms: u64, out: &mut Vec<u8>) -> bool {
    let begin = out.len();
    let mut rest = text;
    while let Some(at) = rest.windows(6).position(|six| six == b"geMs\":") {
        let (before, after) = rest.split_at(at + 6);
        out.extend_from_slice(before);
        rest = after;
        let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(&after[..digits]).ok().and_then(|digits| digits.parse::<u64>().ok());
        if let Some(age_ms) = number.filter(|_| AGES.iter().any(|key| before.ends_with(key))) {
            integer(age_ms.saturating_add(by_ms), out);
            rest = &after[digits..];
        }
    }
    if out.len() == begin || text.windows(PAST.len()).any(|part| part == PAST) {
        out.truncate(begin);
        return false;
    }
    out.extend_from_slice(rest);
    true
}

/// A subscribed order book: symbol and exchange as JSON strings, and the number of levels per side.
pub(crate) type BookAsked<'a> = (&'a [u8], &'a [u8], usize);

/// Appends the reply to a request: the complete sets of the client after it, in the client's spelling. `books` only for
/// clients that use order books.
pub fn subscription<'a>(
    subscribed: bool,
    symbols: impl Iterator<Item = &'a str>,
    exchanges: impl Iterator<Item = &'a str>,
    books: Option<impl Iterator<Item = BookAsked<'a>>>,
    out: &mut Vec<u8>,
) {
    let word = if subscribed { "subscribed" } else { "unsubscribed" };
    let mut object = Object::open(out);
    object.text("type", word);
    super::array(symbols, object.key("symbols"), super::string);
    super::array(exchanges, object.key("exchanges"), super::string);
    object.text("message", if subscribed { "Successfully subscribed" } else { "Successfully unsubscribed" });
    if let Some(books) = books {
        super::array(books, object.key("books"), |(symbol, exchange, levels), out| {
            let mut book = Object::open(out);
            book.key("symbol").extend_from_slice(symbol);
            book.key("exchange").extend_from_slice(exchange);
            book.integer("levels", levels as u64);
            book.close();
        });
    }
    object.close();
}

/// Names added to and removed from the set, for extended clients.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetNames {
    /// Added symbols.
    pub added: Vec<String>,
    /// Removed symbols.
    pub(crate) removed: Vec<String>,
    /// Added exchanges.
    pub(crate) exchanges_added: Vec<String>,
    /// Removed exchanges.
    pub(crate) exchanges_removed: Vec<String>,
}

/// Appends an `instruments` message.
pub fn set(names: &SetNames, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("type", "instruments").texts("added", &names.added).texts("removed", &names.removed);
    object.texts("exchangesAdded", &names.exchanges_added).texts("exchangesRemoved", &names.exchanges_removed);
    object.close();
}

/// Appends an `error` message.
pub fn error(message: &str, out: &mut Vec<u8>) {
    let mut object = Object::open(out);
    object.text("type", "error").text("message", message);
    object.close();
}

/// Appends a float as a JSON number.
pub(super) fn number(value: f64, out: &mut Vec<u8>) {
    float(value, out);
}
