//! What a `/ws/prices` client hears: `price`, `arbitrage`, `subscribed`, `unsubscribed`, `error`. The
//! first fields are system 1's in system 1's order; what an extended client asked for comes after them.

use crate::market::opportunity::Percent;
use crate::market::{Decimal, Figure, Level};
use crate::protocol::opportunity::GroupOf;
use crate::protocol::{Object, float, integer};

/// The best bid and ask of one symbol on one exchange. Names are JSON strings with their quotes, in
/// the client's own spelling.
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
    /// Unix milliseconds: the venue's stamp, else when we read it.
    pub timestamp: u64,
    /// What extended clients hear besides.
    pub more: Option<PriceMore>,
}

/// What an extended client hears of a price besides.
#[derive(Clone, Copy, Debug)]
pub struct PriceMore {
    /// Order number of the change within the pair; grows.
    pub seq: u64,
    /// Where the number comes from.
    pub source: &'static str,
    /// How it came here: `websocket` (our own connection), `shared` (the leader's), `redis_cache`, `local_cache`.
    pub level: &'static str,
    /// `fresh`, `stale`, `suspect`, or `cached` for a last known price that is no price any more.
    pub state: &'static str,
    /// Milliseconds since it was read from the venue's socket.
    pub age_ms: u64,
    /// `CLOCK_MONOTONIC` nanoseconds of that read.
    pub received_ns: u64,
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
    }
    out.push(b'}');
}

/// Buy on one exchange, sell on another.
#[derive(Clone, Copy, Debug)]
pub struct Alert<'a> {
    /// Symbol as a JSON string, in the client's own spelling.
    pub symbol: &'a [u8],
    /// Name of the exchange whose ask is paid.
    pub buy_exchange: &'a str,
    /// Name of the exchange whose bid is hit.
    pub sell_exchange: &'a str,
    /// That ask.
    pub buy: Decimal,
    /// That bid.
    pub sell: Decimal,
    /// `(sell − buy) / buy × 100`.
    pub spread_pct: Percent,
    /// Unix milliseconds: now.
    pub timestamp: u64,
    /// What extended clients hear besides.
    pub more: Option<AlertMore<'a>>,
}

/// What an extended client hears of an opportunity besides.
#[derive(Clone, Copy, Debug)]
pub struct AlertMore<'a> {
    /// Spread after both taker fees, of the buy price.
    pub net_spread_pct: Percent,
    /// The smaller of the two sizes, in base.
    pub executable_size: Decimal,
    /// Milliseconds since the buy leg was read.
    pub buy_age_ms: u64,
    /// Milliseconds since the sell leg was read.
    pub sell_age_ms: u64,
    /// Where the numbers come from; the less real one of the two legs.
    pub source: &'static str,
    /// What its `opportunity` messages call it.
    pub id: &'a str,
    /// The event of which it is a part.
    pub group: GroupOf<'a>,
}

/// Appends an `arbitrage` message. `profit` is that of 100 units of base before fees, as in system 1.
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
        more.executable_size.write(object.key("executableSize"));
        object.integer("buyAgeMs", more.buy_age_ms).integer("sellAgeMs", more.sell_age_ms);
        object.text("source", more.source).text("id", more.id);
        more.group.write(&mut object);
    }
    object.close();
}

/// Members of messages that say how old something is now.
const AGES: [&[u8]; 3] = [b"\"ageMs\":", b"\"buyAgeMs\":", b"\"sellAgeMs\":"];
/// The end of an opportunity has the ages of that moment.
const PAST: &[u8] = b"\"change\":\"closed\"";

/// Appends `text`, a message as this module or its siblings made it, with all ages greater by `by_ms` milliseconds. `false`,
/// and nothing, when it has none. Names cannot be taken for members: their quotes are escaped.
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

/// An order book that a client asked for: symbol and exchange as JSON strings, and how many levels a side it gets.
pub type BookAsked<'a> = (&'a [u8], &'a [u8], usize);

/// Appends the reply to a request: the client's whole sets after it, as it spells them. `books` only for a client
/// that has to do with order books.
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

/// Which names came and went, as extended clients hear it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetNames {
    /// Symbols that came.
    pub added: Vec<String>,
    /// Symbols that went.
    pub removed: Vec<String>,
    /// Exchanges that came.
    pub exchanges_added: Vec<String>,
    /// Exchanges that went.
    pub exchanges_removed: Vec<String>,
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

/// Appends a float as a JSON number; for other files of this module.
pub(super) fn number(value: f64, out: &mut Vec<u8>) {
    float(value, out);
}
