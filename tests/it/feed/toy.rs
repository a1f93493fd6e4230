//! A venue that exists nowhere, whose wire is a few words: the feed's rules can be tested without any
//! real venue's. A frame may be several lines.
//!
//! - `ack SYM`, `no WHY`, `void SYM`, `bye`: acknowledged, refused, void, wants a new connection
//! - `halted SYM`, `traded SYM`: whether it is traded
//! - `leaving`, `maintenance`, `resumed`: what it says about itself; `again SYM` is what we ask a silent symbol by
//! - `q SYM BID SIZE ASK SIZE SEQUENCE`: a quote
//! - `page SYM`: wants a book page of it, a number, which becomes a quote of that sequence
//! - `ping N`: wants to hear `pong N`
//! - `gap`: an error that the codec mends by itself; `hb`: nothing; anything else: not decodable

use std::sync::Mutex;
use std::thread::ThreadId;

use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::depth::{BookPage, PageReader};
use spreadwire::venues::listing::{Listing, ListingEntry};
use spreadwire::venues::{
    Cut, DecodeError, Decoded, ExchangeSide, Facts, FeedCodec, Fetch, Frame, Keepalive, Notice, Opening, Requests,
    StampFacts, Symbols, Top, Update, Venue, VenueLimits, VoidReason,
};

/// Kept alive by the server, no pause between requests.
pub static PLAIN: Toy = Toy(Facts { name: "toy", ..PLAIN_FACTS });

/// Wants a word of ours every 3 s, and 100 ms between two of them.
pub static CHATTY: Toy = Toy(Facts {
    name: "chatty",
    keepalive: Keepalive::Client { every_ms: 3000, cut: Cut::Never },
    request_gap_ms: 100,
    ..PLAIN_FACTS
});

/// Says where it is when asked.
pub static TOKEN: Toy = Toy(Facts { name: "token", opening: Opening::Token { path: "/where" }, ..PLAIN_FACTS });

/// Ends every connection after four seconds.
pub static SHORT: Toy =
    Toy(Facts { name: "short", limits: VenueLimits { age_max_s: Some(4), ..VenueLimits::UNPUBLISHED }, ..PLAIN_FACTS });

/// Takes one instrument on a connection.
pub static NARROW: Toy =
    Toy(Facts { name: "narrow", limits: VenueLimits { instruments: 1, ..VenueLimits::UNPUBLISHED }, ..PLAIN_FACTS });

const PLAIN_FACTS: Facts = Facts {
    name: "",
    title: "Toy",
    address: "ws://127.0.0.1:1/toy",
    opening: Opening::Direct,
    taker_fee_pct: "0.1",
    keepalive: Keepalive::Server,
    message_max: 4096,
    request_gap_ms: 0,
    channel: "toy",
    books: None,
    stamps: StampFacts::MILLISECONDS,
    limits: VenueLimits::UNPUBLISHED,
    docs: "",
};

pub struct Toy(Facts);

impl Venue for Toy {
    fn facts(&self) -> &'static Facts {
        [&PLAIN, &CHATTY, &TOKEN, &SHORT, &NARROW]
            .into_iter()
            .find(|toy| toy.0.name == self.0.name)
            .map(|toy| &toy.0)
            .unwrap()
    }

    fn native(&self, base: &str, quote: &str) -> Result<String, String> {
        Ok(format!("{base}{quote}"))
    }

    fn symbol_of(&self) -> fn(&str) -> Option<String> {
        |native| Some(format!("{}/USDT", native.strip_suffix("USDT")?))
    }

    fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
        Box::new(Codec(symbols))
    }

    fn listing(&self) -> Listing {
        Listing { address: "http://127.0.0.1", path: "/" }
    }

    fn read_listing(&self, _: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
        Err(DecodeError::Shape("a toy lists nothing"))
    }

    fn exchange_side(&self) -> Box<dyn ExchangeSide> {
        unreachable!("nobody simulates it")
    }

    fn endpoint(&self, reply: &[u8]) -> Result<String, DecodeError> {
        String::from_utf8(reply.to_vec()).map_err(|_| DecodeError::Shape("not text"))
    }
}

struct Codec(Symbols);

/// The threads that read pages.
pub static READERS: Mutex<Vec<ThreadId>> = Mutex::new(Vec::new());

impl FeedCodec for Codec {
    fn opened(&mut self, requests: &mut Requests) {
        requests.extend(self.0.entries().iter().map(|entry| format!("sub {}", entry.native)));
    }

    fn read(&mut self, frame: &[u8], _received: MonoNs, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let text = std::str::from_utf8(frame).map_err(|_| DecodeError::Json)?;
        text.lines().try_fold(Frame::Control, |frame, line| Ok(self.line(line, out)?.unwrap_or(frame)))
    }

    fn snapshot(&mut self, _url: &str, body: &[u8], out: &mut Decoded) -> Result<Frame, DecodeError> {
        self.decode(body, MonoNs(0), out)
    }

    fn page_reader(&self) -> PageReader {
        |body| {
            READERS.lock().unwrap().push(std::thread::current().id());
            let number = std::str::from_utf8(body).ok().and_then(|text| text.parse().ok());
            Ok(BookPage::new(number.ok_or(DecodeError::Missing("number"))?, UnixNs(0), Vec::new()))
        }
    }

    fn take_page(&mut self, instrument: InstrumentId, page: BookPage, out: &mut Decoded) -> Result<Frame, DecodeError> {
        let [bid, ask] = [100, 101].map(|price| Level { price: Decimal::new(price, 0), size: Decimal::new(1, 0) });
        let (sequence, exchange_time) = (page.number, UnixNs(0));
        out.updates.push(Update::Top(Top { instrument, bid, ask, sequence, exchange_time, channel: "page" }));
        Ok(Frame::Data)
    }

    fn resubscribe(&mut self, instruments: &[InstrumentId], requests: &mut Requests) {
        requests.extend(self.0.natives(instruments).map(|native| format!("again {native}")));
    }

    fn keepalive(&mut self, requests: &mut Requests) {
        requests.push("alive".to_owned());
    }

    fn symbols(&self) -> &Symbols {
        &self.0
    }
}

impl Codec {
    fn line(&mut self, line: &str, out: &mut Decoded) -> Result<Option<Frame>, DecodeError> {
        let words: Vec<&str> = line.split(' ').collect();
        let mut known = |symbol: &&str| self.0.find(symbol.as_bytes());
        match (words[0], &words[1..]) {
            ("ack", [symbol]) => out.updates.extend(known(symbol).map(Update::Subscribed)),
            ("no", why) => out.updates.push(Update::Refused(why.join(" "))),
            ("void", [symbol]) => out.updates.extend(known(symbol).map(|id| Update::Void(id, VoidReason::Halt))),
            ("halted", [symbol]) => out.updates.extend(known(symbol).map(|id| Update::Trading(id, false))),
            ("traded", [symbol]) => out.updates.extend(known(symbol).map(|id| Update::Trading(id, true))),
            // The stamp is in Unix milliseconds.
            ("day", [symbol, stamp]) => {
                let exchange_time = UnixNs::from_ms(stamp.parse().map_err(|_| DecodeError::Missing("stamp"))?);
                out.updates.extend(known(symbol).map(|instrument| {
                    Update::Statistics(DayStatistics { instrument, exchange_time, ..DayStatistics::default() })
                }));
            }
            ("bye", []) => out.updates.push(Update::Reconnect("asked to leave")),
            ("leaving", []) => out.updates.push(Update::Notice(Notice::Leaving("will stop"))),
            ("maintenance", []) => out.updates.push(Update::Notice(Notice::Maintenance)),
            ("resumed", []) => out.updates.push(Update::Notice(Notice::Resumed)),
            ("gap", []) => return Err(DecodeError::Gap),
            ("hb", []) => {}
            ("page", [symbol]) => {
                out.fetches.extend(known(symbol).map(|id| Fetch { instrument: id, path: "/page".into() }))
            }
            ("ping", [number]) => out.answers.push(format!("pong {number}")),
            ("q", [symbol, numbers @ ..]) if (5..=6).contains(&numbers.len()) => {
                // A sixth is the stamp, in Unix milliseconds.
                let stamp = numbers.get(5).map_or(Ok(0), |ms| ms.parse()).map_err(|_| DecodeError::Missing("stamp"))?;
                let number =
                    |at: usize| Decimal::parse(numbers[at].as_bytes()).map_err(|why| DecodeError::Number("q", why));
                let Some(instrument) = known(symbol) else { return Ok(Some(Frame::Unused)) };
                out.updates.push(Update::Top(Top {
                    instrument,
                    bid: Level { price: number(0)?, size: number(1)? },
                    ask: Level { price: number(2)?, size: number(3)? },
                    sequence: numbers[4].parse().map_err(|_| DecodeError::Missing("sequence"))?,
                    exchange_time: UnixNs::from_ms(stamp),
                    channel: "q",
                }));
                return Ok(Some(Frame::Data));
            }
            _ => return Err(DecodeError::Shape("no word of ours")),
        }
        Ok(None)
    }
}
