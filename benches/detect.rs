//! How long does one quote take from the ring to the end of its row's scan, with 16 venues? How long does a full scan
//! take? What does a hop over a ring cost, on the ring in use and on the alternative?

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spreadwire::detector::Core;
use spreadwire::detector::scan::Spreads;
use spreadwire::market::directory::VenueEntry;
use spreadwire::market::quote::FeedEvent;
use spreadwire::market::rule::DetectorOptions;
use spreadwire::market::{Decimal, Directory, InstrumentId, Level, Quote, VenueId};
use spreadwire::matrix::QuoteMatrix;
use spreadwire::matrix::changes::Changes;
use spreadwire::time::{Clock, MonoNs};

const VENUES: usize = 16;
const INSTRUMENTS: usize = 1_000;

fn directory() -> Arc<Directory> {
    let venues = (0..VENUES)
        .map(|n| VenueEntry {
            name: format!("venue{n}"),
            taker_fee_pct: Decimal::new(1, 1),
            native: vec![Some(String::new()); INSTRUMENTS],
        })
        .collect();
    Arc::new(Directory::new((0..INSTRUMENTS).map(|n| format!("C{n}/USDT")).collect(), venues))
}

/// Quotes of all pairs, a few cents apart. There is no opportunity, which is the usual case.
fn quotes(received: MonoNs) -> Vec<Quote> {
    (0..INSTRUMENTS * VENUES)
        .map(|n| {
            // Visits rows and venues in an order that does not favour the caches.
            let pair = n * 7_919 % (INSTRUMENTS * VENUES);
            let cents = 6_370_400 + (pair as u64 * 31) % 50;
            let level = |cents| Level { price: Decimal::new(cents, 2), size: Decimal::new(150_000, 5) };
            Quote {
                instrument: InstrumentId((pair / VENUES) as u32),
                venue: VenueId((pair % VENUES) as u16),
                bid: level(cents),
                ask: level(cents + 1),
                sequence: 0,
                received,
                ..Quote::default()
            }
        })
        .collect()
}

fn merge_and_scan(c: &mut Criterion) {
    let mut group = c.benchmark_group("detect");
    let directory = directory();
    let now = Clock::System.now();
    let quotes = quotes(now);
    let (_, writer) = QuoteMatrix::new(directory.pairs());
    let changes = Changes::new(directory.pairs());
    let mut core = Core::new(Arc::clone(&directory), writer, DetectorOptions::default());
    let mut events = Vec::new();
    for quote in &quotes {
        core.merge(quote, |_| ()).expect("a good quote");
    }
    let mut at = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("one quote merged, its row of 16 venues scanned", |b| {
        b.iter(|| {
            at = (at + 1) % quotes.len();
            let quote = black_box(&quotes[at]);
            let _ = black_box(core.merge(quote, |pair| changes.mark(pair)));
            core.scan(quote.instrument, now, &mut events);
        });
    });
    assert!(events.is_empty());

    let mut spreads = Spreads::new(INSTRUMENTS, &[Decimal::ZERO; VENUES], &DetectorOptions::default());
    for quote in &quotes {
        spreads.set(quote.instrument, quote.venue, quote.bid.price, quote.ask.price);
    }
    group.throughput(Throughput::Elements(INSTRUMENTS as u64));
    group.bench_function("full scan of 1000 instruments x 16 venues", |b| {
        b.iter(|| (0..INSTRUMENTS as u32).filter(|row| spreads.has_candidate(InstrumentId(*row))).count());
    });
    group.finish();
}

fn ring_hop(c: &mut Criterion) {
    let mut group = c.benchmark_group("ring");
    let event = FeedEvent::Quote(Quote::default());
    let (mut producer, mut consumer) = rtrb::RingBuffer::<FeedEvent>::new(4096);
    group.throughput(Throughput::Elements(1024));
    group.bench_function("1024 quotes through rtrb", |b| {
        b.iter_batched(
            || (),
            |()| {
                for _ in 0..1024 {
                    let _ = producer.push(black_box(event));
                }
                (0..1024).filter(|_| consumer.pop().is_ok()).count()
            },
            BatchSize::SmallInput,
        );
    });
    let queue = crossbeam::queue::ArrayQueue::<FeedEvent>::new(4096);
    group.bench_function("1024 quotes through crossbeam ArrayQueue", |b| {
        b.iter_batched(
            || (),
            |()| {
                for _ in 0..1024 {
                    let _ = queue.push(black_box(event));
                }
                (0..1024).filter(|_| queue.pop().is_some()).count()
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, merge_and_scan, ring_hop);
criterion_main!(benches);
