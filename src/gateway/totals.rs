//! Counts of what a gateway sends. Counted while writing and added to the gauges once per turn.

use crate::metrics::GatewayGauges;

/// Counts since they were last published.
#[derive(Debug, Default)]
pub struct Totals {
    /// Price messages.
    pub prices: u64,
    /// Alert messages.
    pub alerts: u64,
    /// Opportunity messages.
    pub opportunities: u64,
    /// Bytes.
    pub bytes: u64,
    /// Prices that a newer one replaced before they were sent.
    pub conflated: u64,
    /// Order book messages.
    pub books: u64,
    /// States of a book that a newer one replaced before they were sent.
    pub books_conflated: u64,
    /// Clients closed because they did not read.
    pub slow: u64,
    /// Bytes that wait in the outboxes of all clients. A level, not a count: it is not reset.
    pub waiting: usize,
}

impl Totals {
    /// Adds the counts to `gauges` and resets them.
    pub fn publish(&mut self, gauges: &GatewayGauges) {
        for (counter, total) in [
            (&gauges.sent.prices, &mut self.prices),
            (&gauges.sent.alerts, &mut self.alerts),
            (&gauges.sent.opportunities, &mut self.opportunities),
            (&gauges.sent.bytes, &mut self.bytes),
            (&gauges.sent.prices_conflated, &mut self.conflated),
            (&gauges.sent.books, &mut self.books),
            (&gauges.sent.books_conflated, &mut self.books_conflated),
            (&gauges.clients.slow_closed, &mut self.slow),
        ] {
            counter.add(std::mem::take(total));
        }
        gauges.sent.waiting_bytes.set(self.waiting as u64);
    }
}
