//! A batch of quotes as it travels through Redis: text out, and in again only if every part of it is sound. Pure.
//!
//! One line of JSON, so that an operator can read a channel. Names, never ids: another process
//! numbers its venues otherwise. Numbers are the exact decimals that the venue wrote.
//!
//! ```text
//! {"v":1,"cluster":"spreadwire/0","venue":"binance","from":"gw-1_211_1763700000000","token":7,"seq":12,"sent":8123456789,"trip":90000,
//!  "whole":false,"quotes":[["BTC/USDT","63704.00","1.5","63704.10","0.3",87,1763700000000000000,41000,"live","live"]],
//!  "days":[["BTC/USDT",63704,64100,62900,604,0.96,1250000000,1763700000000000000]]}
//! ```
//!
//! A quote is symbol, bid, its size, ask, its size, the venue's number and stamp (Unix nanoseconds), age when it was
//! sent (nanoseconds), source, and whether it still holds. Another word follows where it is no leg of an alert: `lagging`
//! (late by its stamp), `halted` (not traded). `"lag":NANOSECONDS` and `"behind":true` before the quotes say the same of
//! the sender's line to the venue, while it is so. A latest value is a batch of one.

use crate::market::quote::{Delay, Source};
use crate::market::statistics::DayStatistics;
use crate::market::{Decimal, Directory, InstrumentId, Level, VenueId};
use crate::matrix::CellState;
use crate::protocol::{array, float, integer, string};
use crate::time::{MonoNs, SECOND, UnixNs};
use crate::wire::json::{self, Value};

/// Version of this text. Another one is refused, unknown members are not: they may be added.
pub(crate) const VERSION: u64 = 1;
/// Largest batch that is read, in bytes.
pub const BYTES_MAX: usize = 1 << 20;
/// Most quotes, and most day statistics, of one batch.
pub(crate) const QUOTES_MAX: usize = 1024;
/// Longest id of an instance, in bytes.
const NAME_MAX: usize = 256;
/// Greatest age of a published quote, in nanoseconds.
const AGE_MAX_NS: u64 = 86_400 * SECOND;
/// No round trip takes longer than this, in nanoseconds.
const TRIP_MAX_NS: u64 = 60 * SECOND;

/// What a batch says beside its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The cluster, see [`super::store::Keys::cluster`].
    pub cluster: String,
    /// The venue.
    pub venue: VenueId,
    /// Id of the instance that sends it.
    pub from: String,
    /// Its fencing token.
    pub token: u64,
    /// Counts the batches of this venue under this token, from 1.
    pub sequence: u64,
    /// When it was sent, by the sender's own monotonic clock: to be compared with its other batches only.
    pub sent: MonoNs,
    /// The sender's shortest round trip through Redis lately, in nanoseconds.
    pub trip_ns: u64,
    /// Set in the batches that together form a snapshot of the venue.
    pub whole: Option<SnapshotPart>,
    /// How late the venue's quotes are by their stamps while they make no alert for it, in nanoseconds; else 0.
    pub lag_ns: u64,
    /// The sender's connection to the venue has a backlog or is unusually silent: none of its quotes may be a leg.
    pub is_behind: bool,
}

/// Which part of a whole telling a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Sequence of its first batch.
    pub from: u64,
    /// Quotes that are still to follow; 0 in its last batch.
    pub left: u64,
}

/// One instrument of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchEntry {
    /// What is quoted.
    pub instrument: InstrumentId,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
    /// The venue's own order number; 0 where it has none.
    pub sequence: u64,
    /// The venue's stamp; 0 where it sends none.
    pub exchange_time: UnixNs,
    /// How old it was when it was sent, in nanoseconds.
    pub age_ns: u64,
    /// What sent it.
    pub source: Source,
    /// Whether it still holds; never [`CellState::Empty`].
    pub state: CellState,
    /// Whether it was late when it came.
    pub delay: Delay,
}

/// Why a batch is not taken. Somebody else's mistake, or another version: counted, and nothing of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchError {
    /// Larger than [`BYTES_MAX`], or more entries than [`QUOTES_MAX`].
    TooLarge,
    /// Not JSON.
    Json,
    /// Written by another version.
    Version,
    /// It belongs to another cluster, see [`BatchReader::foreign`].
    Foreign,
    /// For another venue than its channel or key is.
    Venue,
    /// A member is missing or has another shape.
    Shape(&'static str),
    /// A number that cannot be.
    Absurd(&'static str),
}

impl std::fmt::Display for BatchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge => f.write_str("it is too large"),
            Self::Json => f.write_str("it is not JSON"),
            Self::Version => f.write_str("it is of another version"),
            Self::Foreign => f.write_str("it is of another cluster"),
            Self::Venue => f.write_str("it is about another venue"),
            Self::Shape(member) => write!(f, "`{member}` is missing or has another shape"),
            Self::Absurd(member) => write!(f, "`{member}` cannot be"),
        }
    }
}

/// Writes one batch to the end of a buffer: quotes first, then days.
pub struct BatchWriter<'a> {
    out: &'a mut Vec<u8>,
    directory: &'a Directory,
    entries: usize,
}

impl<'a> BatchWriter<'a> {
    /// Begins a batch.
    pub fn begin(head: &Head, directory: &'a Directory, out: &'a mut Vec<u8>) -> Self {
        let text = |text: &str, out: &mut Vec<u8>| out.extend_from_slice(text.as_bytes());
        text("{\"v\":", out);
        integer(VERSION, out);
        text(",\"cluster\":", out);
        string(&head.cluster, out);
        text(",\"venue\":", out);
        string(&directory.venue(head.venue).name, out);
        text(",\"from\":", out);
        string(&head.from, out);
        let numbers = [
            (",\"token\":", head.token),
            (",\"seq\":", head.sequence),
            (",\"sent\":", head.sent.0),
            (",\"trip\":", head.trip_ns),
        ];
        for (key, number) in numbers {
            text(key, out);
            integer(number, out);
        }
        text(",\"whole\":", out);
        match head.whole {
            Some(whole) => array([whole.from, whole.left], out, integer),
            None => text("false", out),
        }
        if head.lag_ns > 0 {
            text(",\"lag\":", out);
            integer(head.lag_ns, out);
        }
        if head.is_behind {
            text(",\"behind\":true", out);
        }
        text(",\"quotes\":[", out);
        Self { out, directory, entries: 0 }
    }

    /// Adds a quote.
    pub fn quote(&mut self, entry: &BatchEntry) {
        self.open_entry(entry.instrument);
        for number in [entry.bid.price, entry.bid.size, entry.ask.price, entry.ask.size] {
            self.out.extend_from_slice(b",\"");
            number.write_verbatim(self.out);
            self.out.push(b'"');
        }
        for number in [entry.sequence, entry.exchange_time.0, entry.age_ns] {
            self.out.push(b',');
            integer(number, self.out);
        }
        for word in [entry.source.word(), state_word(entry.state)].into_iter().chain(mark_of(entry)) {
            self.out.extend_from_slice(b",\"");
            self.out.extend_from_slice(word.as_bytes());
            self.out.push(b'"');
        }
        self.out.push(b']');
    }

    /// Ends the quotes and adds the day statistics.
    pub fn days<'d>(mut self, days: impl IntoIterator<Item = &'d DayStatistics>) {
        self.out.extend_from_slice(b"],\"days\":[");
        self.entries = 0;
        for day in days {
            self.open_entry(day.instrument);
            for figure in [day.last, day.high, day.low, day.change, day.change_pct, day.quote_volume] {
                self.out.push(b',');
                float(figure, self.out);
            }
            self.out.push(b',');
            integer(day.exchange_time.0, self.out);
            self.out.push(b']');
        }
        self.out.extend_from_slice(b"]}");
    }

    fn open_entry(&mut self, instrument: InstrumentId) {
        if self.entries > 0 {
            self.out.push(b',');
        }
        self.entries += 1;
        self.out.push(b'[');
        string(self.directory.symbol(instrument), self.out);
    }
}

const fn state_word(state: CellState) -> &'static str {
    match state {
        CellState::Live => "live",
        CellState::Suspect => "suspect",
        // A reader that knows no mark must not take it for a price.
        CellState::Void | CellState::Halted | CellState::Empty => "void",
    }
}

/// The word that says why a quote is no leg, where that is not its state.
const fn mark_of(entry: &BatchEntry) -> Option<&'static str> {
    match (entry.state, entry.delay) {
        (CellState::Halted, _) => Some(HALTED),
        (CellState::Live | CellState::Suspect, Delay::Lagging) => Some(LAGGING),
        _ => None,
    }
}

const HALTED: &str = "halted";
const LAGGING: &str = "lagging";

/// Reads batches; keeps its buffers, so that a batch no larger than one before costs no memory but its sender's name.
#[derive(Default)]
pub struct BatchReader {
    /// Those of any other are refused.
    cluster: String,
    /// The cluster of the last batch that was refused for that; empty when it did not say.
    pub foreign: String,
    parser: json::Parser,
    /// Quotes of the last batch that was read.
    pub quotes: Vec<BatchEntry>,
    /// Day statistics of the last batch that was read.
    pub days: Vec<DayStatistics>,
    /// Quotes and statistics of the last batch about instruments that this process does not have on the venue.
    pub unknown: u64,
}

impl BatchReader {
    /// For batches of `cluster`.
    #[must_use]
    pub fn of(cluster: String) -> Self {
        Self { cluster, ..Self::default() }
    }

    /// Reads a batch about `venue`.
    ///
    /// # Errors
    /// The first thing wrong with it.
    pub fn read(&mut self, text: &[u8], venue: VenueId, directory: &Directory) -> Result<Head, BatchError> {
        let Self { cluster, foreign, parser, quotes, days, unknown } = self;
        quotes.clear();
        days.clear();
        *unknown = 0;
        if text.len() > BYTES_MAX {
            return Err(BatchError::TooLarge);
        }
        let read = parser.parse(text, |root| {
            let theirs = root.text_of("cluster").unwrap_or_default();
            if root.is_object() && theirs != cluster.as_str() {
                foreign.clear();
                foreign.extend(theirs.chars().take(NAME_MAX));
                return Err(BatchError::Foreign);
            }
            let head = head(root, venue, directory)?;
            let mut names = BatchNames { venue, directory, unknown };
            entries(root, "quotes", quotes, |item| quote(item, &mut names))?;
            entries(root, "days", days, |item| day(item, &mut names))?;
            Ok(head)
        });
        let read = read.unwrap_or(Err(BatchError::Json));
        if read.is_err() {
            quotes.clear();
            days.clear();
        }
        read
    }
}

fn head(root: Value<'_>, venue: VenueId, directory: &Directory) -> Result<Head, BatchError> {
    let number = |key: &'static str| root.get(key).and_then(|v| v.integer()).ok_or(BatchError::Shape(key));
    if !root.is_object() {
        return Err(BatchError::Json);
    }
    if number("v")? != VERSION {
        return Err(BatchError::Version);
    }
    if root.text_of("venue") != Some(directory.venue(venue).name.as_str()) {
        return Err(BatchError::Venue);
    }
    let from = root.text_of("from").filter(|from| !from.is_empty()).ok_or(BatchError::Shape("from"))?;
    let within = |key: &'static str, least: u64, most: u64| {
        number(key).and_then(|n| if n < least || n > most { Err(BatchError::Absurd(key)) } else { Ok(n) })
    };
    if from.len() > NAME_MAX {
        return Err(BatchError::Absurd("from"));
    }
    Ok(Head {
        cluster: root.text_of("cluster").unwrap_or_default().to_owned(),
        venue,
        from: from.to_owned(),
        token: within("token", 1, super::store::TOKEN_MAX)?,
        sequence: within("seq", 1, u64::MAX - 1)?,
        sent: MonoNs(within("sent", 0, u64::MAX / 4)?),
        trip_ns: within("trip", 0, TRIP_MAX_NS)?,
        whole: whole(root.get("whole").ok_or(BatchError::Shape("whole"))?)?,
        // Earlier versions say nothing of the two.
        lag_ns: root.get("lag").and_then(|v| v.integer()).unwrap_or(0).min(AGE_MAX_NS),
        is_behind: root.get("behind").and_then(|v| v.boolean()).unwrap_or(false),
    })
}

fn whole(value: Value<'_>) -> Result<Option<SnapshotPart>, BatchError> {
    if value.boolean() == Some(false) {
        return Ok(None);
    }
    let number = |at| value.at(at).and_then(|v| v.integer()).ok_or(BatchError::Shape("whole"));
    Ok(Some(SnapshotPart { from: number(0)?, left: number(1)? }))
}

fn entries<'a, T>(
    root: Value<'a>,
    key: &'static str,
    out: &mut Vec<T>,
    mut read: impl FnMut(Value<'a>) -> Result<Option<T>, BatchError>,
) -> Result<(), BatchError> {
    let list = root.get(key).filter(Value::is_array).ok_or(BatchError::Shape(key))?;
    if list.len() > QUOTES_MAX {
        return Err(BatchError::TooLarge);
    }
    for item in list.items() {
        out.extend(read(item)?);
    }
    Ok(())
}

struct BatchNames<'a> {
    venue: VenueId,
    directory: &'a Directory,
    unknown: &'a mut u64,
}

impl BatchNames<'_> {
    /// The instrument, if this process has it on the venue.
    fn find(&mut self, symbol: Option<Value<'_>>) -> Result<Option<InstrumentId>, BatchError> {
        let symbol = symbol.and_then(|v| v.text()).ok_or(BatchError::Shape("symbol"))?;
        let known = self.directory.instrument_named(symbol);
        let found = known.filter(|instrument| self.directory.is_quoted(*instrument, self.venue));
        *self.unknown += u64::from(found.is_none());
        Ok(found)
    }
}

fn quote(item: Value<'_>, names: &mut BatchNames<'_>) -> Result<Option<BatchEntry>, BatchError> {
    let mut parts = item.items();
    let instrument = names.find(parts.next())?;
    let mut number = |name| {
        let text = parts.next().and_then(|v| v.text()).ok_or(BatchError::Shape(name))?;
        Decimal::parse(text.as_bytes()).map_err(|_| BatchError::Absurd(name))
    };
    let numbers = [number("bid")?, number("bid size")?, number("ask")?, number("ask size")?];
    let mut integer = |name| parts.next().and_then(|v| v.integer()).ok_or(BatchError::Shape(name));
    let (sequence, exchange_time, age_ns) = (integer("sequence")?, integer("time")?, integer("age")?);
    let mut word = |name| parts.next().and_then(|v| v.text()).ok_or(BatchError::Shape(name));
    let source = match word("source")? {
        "live" => Source::Live,
        "simulated" => Source::Simulated,
        "replay" => Source::Replay,
        _ => return Err(BatchError::Shape("source")),
    };
    let state = match word("state")? {
        "live" => CellState::Live,
        "suspect" => CellState::Suspect,
        "void" => CellState::Void,
        _ => return Err(BatchError::Shape("state")),
    };
    let (state, delay) = match (state, parts.next().and_then(|v| v.text())) {
        (CellState::Void, Some(HALTED)) => (CellState::Halted, Delay::None),
        (state, Some(LAGGING)) => (state, Delay::Lagging),
        (state, _) => (state, Delay::None),
    };
    if age_ns > AGE_MAX_NS {
        return Err(BatchError::Absurd("age"));
    }
    let [bid, bid_size, ask, ask_size] = numbers;
    // As from a feed: a side without price or size is absent.
    let side = |price, size| {
        let level = Level { price, size };
        if level.is_present() { level } else { Level::ABSENT }
    };
    Ok(instrument.map(|instrument| BatchEntry {
        instrument,
        bid: side(bid, bid_size),
        ask: side(ask, ask_size),
        sequence,
        exchange_time: UnixNs(exchange_time),
        age_ns,
        source,
        state,
        delay,
    }))
}

fn day(item: Value<'_>, names: &mut BatchNames<'_>) -> Result<Option<DayStatistics>, BatchError> {
    let mut parts = item.items();
    let instrument = names.find(parts.next())?;
    let mut figure = || {
        let figure = parts.next().and_then(|v| v.float()).ok_or(BatchError::Shape("day"))?;
        if figure.abs() > 1e30 { Err(BatchError::Absurd("day")) } else { Ok(figure) }
    };
    let [last, high, low] = [figure()?, figure()?, figure()?];
    let [change, change_pct, quote_volume] = [figure()?, figure()?, figure()?];
    let exchange_time = UnixNs(parts.next().and_then(|v| v.integer()).ok_or(BatchError::Shape("day"))?);
    Ok(instrument.map(|instrument| DayStatistics {
        instrument,
        last,
        high,
        low,
        change,
        change_pct,
        quote_volume,
        exchange_time,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::directory::VenueEntry;
    use proptest::prelude::*;

    fn directory() -> Directory {
        let venue = |name: &str, native: [Option<&str>; 3]| VenueEntry {
            name: name.to_owned(),
            taker_fee_pct: Decimal::ZERO,
            native: native.map(|n| n.map(str::to_owned)).to_vec(),
        };
        Directory::new(
            ["BTC/USDT", "ETH/USDT", "SOL/USDT"].map(str::to_owned).to_vec(),
            vec![venue("okx", [Some("a"), Some("b"), None]), venue("kraken", [Some("a"), None, None])],
        )
    }

    const OKX: VenueId = VenueId(0);

    fn a_head() -> Head {
        let from = "gw \"1\"\n_7_1763700000000".to_owned();
        let cluster = "spreadwire/0".to_owned();
        Head {
            cluster,
            venue: OKX,
            from,
            token: 7,
            sequence: 12,
            sent: MonoNs(5),
            trip_ns: 9,
            whole: None,
            lag_ns: 0,
            is_behind: false,
        }
    }

    fn an_entry() -> BatchEntry {
        let level = |price: &str, size: &str| Level { price: price.parse().unwrap(), size: size.parse().unwrap() };
        BatchEntry {
            instrument: InstrumentId(0),
            bid: level("63704.00", "1.50"),
            ask: level("63704.10", "0.3"),
            sequence: u64::MAX,
            exchange_time: UnixNs(1_763_700_000_000_000_000),
            age_ns: 41_000,
            source: Source::Simulated,
            state: CellState::Live,
            delay: Delay::None,
        }
    }

    fn write(head: &Head, quotes: &[BatchEntry], days: &[DayStatistics]) -> Vec<u8> {
        let (directory, mut out) = (directory(), Vec::new());
        let mut writer = BatchWriter::begin(head, &directory, &mut out);
        quotes.iter().for_each(|entry| writer.quote(entry));
        writer.days(days);
        out
    }

    fn reader() -> BatchReader {
        BatchReader::of("spreadwire/0".to_owned())
    }

    fn read(text: &[u8]) -> Result<Head, BatchError> {
        reader().read(text, OKX, &directory())
    }

    #[test]
    fn a_batch_is_one_line_that_a_person_can_read() {
        let head = Head { from: "gw-1".to_owned(), ..a_head() };
        let text = String::from_utf8(write(&head, &[an_entry()], &[])).unwrap();
        assert_eq!(
            text,
            r#"{"v":1,"cluster":"spreadwire/0","venue":"okx","from":"gw-1","token":7,"seq":12,"sent":5,"trip":9,"whole":false,"quotes":[["BTC/USDT","63704.00","1.50","63704.10","0.3",18446744073709551615,1763700000000000000,41000,"simulated","live"]],"days":[]}"#
        );
    }

    #[test]
    fn what_is_no_leg_has_a_word_behind_its_state_that_earlier_versions_pass_over() {
        for (state, delay, words) in [
            (CellState::Live, Delay::Lagging, r#""live","lagging"]"#),
            (CellState::Halted, Delay::None, r#""void","halted"]"#),
            (CellState::Void, Delay::Lagging, r#""void"]"#),
        ] {
            let entry = BatchEntry { state, delay, ..an_entry() };
            let head = Head { lag_ns: 30_000_000_000, is_behind: true, ..a_head() };
            let text = String::from_utf8(write(&head, &[entry], &[])).unwrap();
            assert!(text.contains(words) && text.contains(r#","lag":30000000000,"behind":true,"quotes""#), "{text}");
        }
    }

    #[test]
    fn another_version_is_refused_and_unknown_members_are_not() {
        let text = String::from_utf8(write(&a_head(), &[an_entry()], &[])).unwrap();
        assert_eq!(read(text.replace("\"v\":1", "\"v\":2").as_bytes()), Err(BatchError::Version));
        assert_eq!(read(text.replace("\"v\":1,", "").as_bytes()), Err(BatchError::Shape("v")));
        assert_eq!(read(text.replace("\"v\":1,", "\"v\":1,\"hue\":[3],").as_bytes()), Ok(a_head()));
        let later = text.replace("\"simulated\",\"live\"", "\"simulated\",\"live\",\"more\"");
        assert_eq!(read(later.as_bytes()), Ok(a_head()));
    }

    #[test]
    fn a_batch_of_another_cluster_is_refused_whatever_else_it_says() {
        let text = String::from_utf8(write(&a_head(), &[an_entry()], &[])).unwrap();
        for (to, theirs) in [("\"cluster\":\"spreadwire/1\"", "spreadwire/1"), ("\"was\":0", "")] {
            let mut reader = reader();
            let text = text.replace("\"cluster\":\"spreadwire/0\"", to);
            assert_eq!(reader.read(text.as_bytes(), OKX, &directory()), Err(BatchError::Foreign), "{to}");
            assert_eq!((reader.foreign.as_str(), reader.quotes.len()), (theirs, 0));
        }
    }

    #[test]
    fn what_this_process_does_not_have_is_skipped_and_counted() {
        let entry = |n| BatchEntry { instrument: InstrumentId(n), ..an_entry() };
        let mut reader = reader();
        let text = write(&a_head(), &[entry(2), entry(1), entry(0)], &[]);
        let text = String::from_utf8(text).unwrap().replace("ETH/USDT", "ETH/XYZ");
        assert_eq!(reader.read(text.as_bytes(), OKX, &directory()), Ok(a_head()));
        assert_eq!((reader.quotes.as_slice(), reader.unknown), ([entry(0)].as_slice(), 2));
    }

    #[test]
    fn wrong_shapes_and_absurd_numbers_refuse_the_whole_batch() {
        let text = String::from_utf8(write(&a_head(), &[an_entry()], &[])).unwrap();
        for (from, to, why) in [
            ("\"okx\"", "\"kraken\"", BatchError::Venue),
            ("\"token\":7", "\"token\":0", BatchError::Absurd("token")),
            ("\"token\":7", "\"token\":9007199254740993", BatchError::Absurd("token")),
            ("\"token\":7", "\"token\":-7", BatchError::Shape("token")),
            ("\"seq\":12", "\"seq\":0", BatchError::Absurd("seq")),
            ("\"sent\":5", "\"sent\":18446744073709551615", BatchError::Absurd("sent")),
            ("\"trip\":9", "\"trip\":90000000000000", BatchError::Absurd("trip")),
            ("63704.10", "-63704.10", BatchError::Absurd("ask")),
            ("63704.10", "NaN", BatchError::Absurd("ask")),
            ("63704.10", "1e400", BatchError::Absurd("ask")),
            (",41000,", ",86400000000001000,", BatchError::Absurd("age")),
            ("\"live\"]", "\"lively\"]", BatchError::Shape("state")),
            ("\"quotes\":[[", "\"quotes\":[[],[", BatchError::Shape("symbol")),
            ("\"whole\":false", "\"whole\":0", BatchError::Shape("whole")),
            ("\"from\":\"", "\"from\":\"\",\"was\":\"", BatchError::Shape("from")),
            ("{\"v\"", "[{\"v\"", BatchError::Json),
        ] {
            assert!(text.contains(from), "{from}");
            assert_eq!(read(text.replace(from, to).as_bytes()), Err(why), "{to}");
        }
        assert_eq!(read(b"63704.1"), Err(BatchError::Json));
        assert_eq!(read(&vec![b' '; BYTES_MAX + 1]), Err(BatchError::TooLarge));
        let many = vec![an_entry(); QUOTES_MAX + 1];
        assert_eq!(read(&write(&a_head(), &many, &[])), Err(BatchError::TooLarge));
        assert_eq!(read(&write(&a_head(), &many[1..], &[])), Ok(a_head()));
    }

    fn number() -> impl Strategy<Value = Decimal> {
        (any::<u64>(), 0u8..=19).prop_map(|(mantissa, scale)| Decimal::new(mantissa, scale))
    }

    prop_compose! {
        fn entry()(
            instrument in 0u32..2, numbers in prop::array::uniform4(number()), sequence: u64, time: u64,
            age_ns in 0..=AGE_MAX_NS, source in 0u8..3, state in 0usize..4, is_late: bool,
        ) -> BatchEntry {
            let level = |price: Decimal, size: Decimal| {
                let level = Level { price, size };
                if level.is_present() { level } else { Level::ABSENT }
            };
            let [a, b, c, d] = numbers;
            BatchEntry {
                instrument: InstrumentId(instrument), bid: level(a, b), ask: level(c, d), sequence,
                exchange_time: UnixNs(time), age_ns, source: Source::from_u8(source),
                state: [CellState::Live, CellState::Suspect, CellState::Void, CellState::Halted][state],
                delay: if is_late && state < 2 { Delay::Lagging } else { Delay::None },
            }
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            quotes in prop::collection::vec(entry(), 0..20), figures in prop::array::uniform6(-1e12f64..1e12), time: u64,
            token in 1..=super::super::store::TOKEN_MAX, sequence in 1..u64::MAX, sent in 0..u64::MAX / 4, whole: Option<(u64, u64)>,
            lag_ns in 0..=AGE_MAX_NS, is_behind: bool,
        ) {
            let [last, high, low, change, change_pct, quote_volume] = figures;
            let exchange_time = UnixNs(time);
            let day = DayStatistics {
                instrument: InstrumentId(1), last, high, low, change, change_pct, quote_volume, exchange_time,
            };
            let whole = whole.map(|(from, left)| SnapshotPart { from, left });
            let head = Head { token, sequence, sent: MonoNs(sent), whole, lag_ns, is_behind, ..a_head() };
            let mut reader = reader();
            prop_assert_eq!(reader.read(&write(&head, &quotes, &[day]), OKX, &directory()), Ok(head));
            prop_assert_eq!(&reader.quotes, &quotes);
            prop_assert!(reader.quotes.iter().zip(&quotes).all(|(a, b)| {
                let text = |e: &BatchEntry| { let mut t = Vec::new(); e.bid.price.write_verbatim(&mut t); t };
                text(a) == text(b)
            }), "a price is written as the venue wrote it");
            prop_assert_eq!(&reader.days, &[day]);
        }

        #[test]
        fn damage_never_panics_and_a_cut_batch_is_refused(
            quotes in prop::collection::vec(entry(), 0..3), cut: prop::sample::Index,
            flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
        ) {
            let mut text = write(&a_head(), &quotes, &[]);
            let whole = text.len();
            prop_assert!(read(&text[..cut.index(whole)]).is_err());
            for (at, bit) in flips {
                text[at.index(whole)] ^= 1 << bit;
            }
            let _ = read(&text);
        }

        #[test]
        fn any_bytes_are_refused_or_read_and_never_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&text).is_err());
        }
    }
}
