//! One instrument is asked for again while the others go on, on every venue.

use spreadwire::market::statistics::DayStatistics;
use spreadwire::market::{Decimal, InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{
    Decoded, FeedCodec, Market, Messages, Requests, SymbolEntry, Symbols, Update, VENUES, VenueQuote,
};

const BASES: [&str; 2] = ["BTC", "ETH"];

struct Hall(Vec<VenueQuote>);

impl Market for Hall {
    fn quote(&self, native: &str) -> Option<VenueQuote> {
        self.0.iter().find(|quote| quote.native == native).cloned()
    }

    fn now(&self) -> UnixNs {
        UnixNs::from_ms(1_786_613_159_748)
    }
}

fn state(native: &str, n: u64) -> VenueQuote {
    let level = |price, size| Level { price: Decimal::new(price, 2), size: Decimal::new(size, 4) };
    VenueQuote {
        native: native.to_owned(),
        bid: level(10_000 + n, 15_000 + n),
        ask: level(10_100 + n, 25_000 + n),
        sequence: n + 2,
        time: UnixNs::from_ms(1_786_613_159_748 + n),
        is_trading: true,
        day: DayStatistics::default(),
    }
}

/// What the codec makes of what the venue says, until neither has anything more to say.
fn talk(
    codec: &mut dyn FeedCodec,
    side: &mut dyn spreadwire::venues::ExchangeSide,
    hall: &Hall,
    mut requests: Requests,
    said: &mut Messages,
) -> Vec<Update> {
    let (mut updates, mut decoded) = (Vec::new(), Decoded::default());
    loop {
        for message in said.drain() {
            decoded.clear();
            codec.decode(message.as_bytes(), MonoNs(1), &mut decoded).expect("our own frames decode");
            updates.append(&mut decoded.updates);
            requests.append(&mut decoded.requests);
            requests.append(&mut decoded.answers);
        }
        if requests.is_empty() {
            return updates;
        }
        requests.drain(..).for_each(|request| side.receive(&request, hall, said));
    }
}

#[test]
fn one_instrument_that_is_asked_for_again_is_quoted_again_and_the_other_goes_on() {
    for venue in VENUES {
        let name = venue.facts().name;
        let native = |base| ["EUR", "USDT"].into_iter().find_map(|quote| venue.native(base, quote).ok()).unwrap();
        let natives: Vec<String> = BASES.into_iter().map(native).collect();
        let entry = |at: usize| SymbolEntry {
            id: InstrumentId(at as u32),
            native: natives[at].clone(),
            symbol: BASES[at].to_owned(),
        };
        let mut codec = venue.codec(Symbols::configured(vec![entry(0), entry(1)]));
        let mut side = venue.exchange_side();
        let hall = Hall(natives.iter().map(|native| state(native, 0)).collect());
        let (mut said, mut requests) = (Messages::default(), Requests::new());
        side.opened("/ws", &hall, &mut said);
        codec.set_time(hall.now());
        codec.opened(&mut requests);
        talk(&mut *codec, &mut *side, &hall, requests, &mut said);

        let mut requests = Requests::new();
        codec.resubscribe(&[InstrumentId(0)], &mut requests);
        assert!(!requests.is_empty(), "{name} asks for nothing");
        let mut updates = talk(&mut *codec, &mut *side, &hall, requests, &mut said);
        assert!(!updates.iter().any(|update| matches!(update, Update::Refused(_) | Update::Reconnect(_))), "{name}");
        for native in &natives {
            side.quote(&state(native, 1), &mut said);
        }
        updates.extend(talk(&mut *codec, &mut *side, &hall, Requests::new(), &mut said));
        for at in 0..2 {
            let last = updates.iter().rev().find_map(|update| match update {
                Update::Top(top) if top.instrument == InstrumentId(at) => Some((top.bid.price, top.ask.price)),
                _ => None,
            });
            let now = state("", 1);
            assert_eq!(last, Some((now.bid.price, now.ask.price)), "{name}: {}", BASES[at as usize]);
        }
    }
}
