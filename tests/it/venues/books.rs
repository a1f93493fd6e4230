//! Books under loss, repetition, disorder and reconnects: whatever comes of the exchange's messages, a book that is
//! believed is one that the exchange had, and it is the exchange's own again once its messages come through.

use proptest::prelude::*;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, ExchangeSide, FeedCodec, Market, Message, Messages, SymbolEntry, Symbols, Update, VenueQuote, venue,
};

/// A book channel whose losses can be seen: who has it, how it is asked for, what its quotes are called.
struct Subject {
    venue: &'static str,
    quote: &'static str,
    /// Sent once the codec's own requests are answered.
    request: &'static str,
    channel: &'static str,
    /// Where a snapshot is read from, for books that do not bring their own.
    rest: Option<&'static str>,
}

const SUBJECTS: [Subject; 11] = [
    Subject { venue: "bitfinex", quote: "USDT", request: "", channel: "book", rest: None },
    Subject {
        venue: "htx",
        quote: "USDT",
        request: r#"{"sub":"market.btcusdt.mbp.150","id":"7"}"#,
        channel: "mbp.150",
        rest: None,
    },
    Subject {
        venue: "mexc",
        quote: "USDT",
        request: r#"{"method":"SUBSCRIPTION","params":["spot@public.aggre.depth.v3.api.pb@10ms@BTCUSDT"]}"#,
        channel: "aggre.depth",
        rest: Some("/api/v3/depth?symbol=BTCUSDT&limit=1000"),
    },
    Subject {
        venue: "okx",
        quote: "USDT",
        request: r#"{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}"#,
        channel: "books",
        rest: None,
    },
    Subject {
        venue: "bybit",
        quote: "USDT",
        request: r#"{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}"#,
        channel: "orderbook.50",
        rest: None,
    },
    Subject {
        venue: "kraken",
        quote: "USD",
        request: r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10},"req_id":9}"#,
        channel: "book",
        rest: None,
    },
    Subject {
        venue: "binance",
        quote: "USDT",
        request: r#"{"method":"SUBSCRIBE","params":["btcusdt@depth@100ms"],"id":7}"#,
        channel: "depth",
        rest: Some("/api/v3/depth?symbol=BTCUSDT&limit=1000"),
    },
    Subject {
        venue: "gateio",
        quote: "USDT",
        request: r#"{"time":1,"channel":"spot.obu","event":"subscribe","payload":["ob.BTC_USDT.50"]}"#,
        channel: "spot.obu",
        rest: None,
    },
    Subject {
        venue: "gateio",
        quote: "USDT",
        request: r#"{"time":1,"channel":"spot.order_book_update","event":"subscribe","payload":["BTC_USDT","100ms"]}"#,
        channel: "spot.order_book_update",
        rest: Some("/api/v4/spot/order_book?currency_pair=BTC_USDT&limit=100&with_id=true"),
    },
    Subject {
        venue: "bitget",
        quote: "USDT",
        request: r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"books","instId":"BTCUSDT"}]}"#,
        channel: "books",
        rest: None,
    },
    Subject { venue: "cryptocom", quote: "USDT", request: "", channel: "book", rest: None },
];

/// What becomes of the messages of one change.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Delivered,
    Lost,
    Twice,
    /// Behind those of the next change.
    Late,
    /// The connection is made anew first.
    Reconnected,
    /// A REST book is read behind it, where there is one.
    Read,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Delivered),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Twice),
        1 => Just(Fate::Late),
        1 => Just(Fate::Reconnected),
        2 => Just(Fate::Read),
    ]
}

struct Hall(VenueQuote);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        (native == self.0.native).then(|| self.0.clone())
    }

    fn now(&self) -> UnixNs {
        self.0.time
    }
}

/// A codec and its exchange, and what the codec believes of the book.
struct Line<'a> {
    subject: &'a Subject,
    codec: Box<dyn FeedCodec>,
    side: Box<dyn ExchangeSide>,
    hall: Hall,
    /// Every top that the exchange has had.
    history: Vec<(Level, Level)>,
    believed: Option<(Level, Level)>,
    late: Vec<Message>,
}

impl<'a> Line<'a> {
    fn open(subject: &'a Subject) -> Self {
        let venue = venue(subject.venue).unwrap();
        let native = venue.native("BTC", subject.quote).unwrap();
        let entry = SymbolEntry { id: InstrumentId(0), native: native.clone(), symbol: "BTC/X".to_owned() };
        let (bid, ask) = (level(100, 1), level(101, 1));
        let quote = VenueQuote {
            native,
            bid,
            ask,
            sequence: 2,
            time: UnixNs(1_786_613_159_748_000_000),
            is_trading: true,
            day: Default::default(),
        };
        let mut line = Self {
            subject,
            codec: venue.codec(Symbols::configured(vec![entry])),
            side: venue.exchange_side(),
            hall: Hall(quote),
            history: vec![(bid, ask)],
            believed: None,
            late: Vec::new(),
        };
        line.connect();
        line
    }

    fn connect(&mut self) {
        self.side = venue(self.subject.venue).unwrap().exchange_side();
        (self.believed, self.late) = (None, Vec::new());
        let mut said = Messages::default();
        self.side.opened("/", &self.hall, &mut said);
        let mut requests = Vec::new();
        self.codec.opened(&mut requests);
        requests.extend(Some(self.subject.request.to_owned()).filter(|request| !request.is_empty()));
        requests.iter().for_each(|request| self.side.receive(request, &self.hall, &mut said));
        self.hear(said.drain().collect());
    }

    /// The codec reads these, and its requests are answered, whatever else is lost.
    fn hear(&mut self, messages: Vec<Message>) {
        let mut waiting = std::collections::VecDeque::from(messages);
        while let Some(message) = waiting.pop_front() {
            let mut out = Decoded::default();
            let _ = self.codec.decode(message.as_bytes(), MonoNs(1), &mut out);
            self.believe(&out.updates);
            let mut said = Messages::default();
            out.requests.iter().for_each(|request| self.side.receive(request, &self.hall, &mut said));
            waiting.extend(said.drain());
        }
    }

    fn believe(&mut self, updates: &[Update]) {
        for update in updates {
            match update {
                Update::Top(top) if top.channel == self.subject.channel => self.believed = Some((top.bid, top.ask)),
                Update::Void(..) => self.believed = None,
                _ => {}
            }
        }
        if let Some(top) = self.believed {
            assert!(self.history.contains(&top), "{}: the exchange never had {top:?}", self.subject.venue);
        }
    }

    fn change(&mut self, bid: Level, ask: Level) -> Vec<Message> {
        let quote = &mut self.hall.0;
        (quote.bid, quote.ask, quote.sequence, quote.time) =
            (bid, ask, quote.sequence + 1, UnixNs(quote.time.0 + 1_000_000));
        self.history.push((bid, ask));
        let mut said = Messages::default();
        self.side.quote(&self.hall.0, &mut said);
        said.drain().collect()
    }

    fn step(&mut self, bid: Level, ask: Level, fate: Fate) {
        if matches!(fate, Fate::Reconnected) {
            self.connect();
        }
        let messages = self.change(bid, ask);
        let late = std::mem::take(&mut self.late);
        match fate {
            Fate::Lost => {}
            Fate::Late => self.late = messages,
            Fate::Twice => {
                self.hear(messages.clone());
                self.hear(messages);
            }
            Fate::Delivered | Fate::Reconnected => self.hear(messages),
            Fate::Read => {
                self.hear(messages);
                self.read();
            }
        }
        self.hear(late);
    }

    fn read(&mut self) {
        let Some(target) = self.subject.rest else { return };
        let body = venue(self.subject.venue).unwrap().rest("GET", target, "", &self.hall).unwrap();
        let mut out = Decoded::default();
        let _ = self.codec.snapshot(&format!("https://exchange.example{target}"), body.as_bytes(), &mut out);
        self.believe(&out.updates);
    }
}

fn level(price: u64, size: u64) -> Level {
    Level { price: Decimal::new(price, 0), size: Decimal::new(size, 2) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_schedule_of_faults_makes_a_wrong_book_believed(
        steps in proptest::collection::vec((95u64..105, 1u64..6, any::<bool>(), fate()), 1..60)
    ) {
        for subject in &SUBJECTS {
            let mut line = Line::open(subject);
            for (number, (bid, above, both, fate)) in steps.iter().enumerate() {
                // No two tops are alike, so that a mixture of two is found out.
                let size = number as u64 + 2;
                let ask = if *both { size } else { 1 };
                line.step(level(*bid, size), level(bid + above, ask), *fate);
            }
            // Then nothing is lost any more.
            for number in 0..3 {
                line.step(level(90, 1000 + number), level(110, 1000 + number), Fate::Read);
            }
            let now = line.history.last().copied();
            prop_assert_eq!(line.believed, now, "{}: the book has not come back", subject.venue);
        }
    }
}
