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
            (&gauges.prices_sent, &mut self.prices),
            (&gauges.alerts_sent, &mut self.alerts),
            (&gauges.opportunities_sent, &mut self.opportunities),
            (&gauges.bytes_sent, &mut self.bytes),
            (&gauges.outbox_conflated, &mut self.conflated),
            (&gauges.books_sent, &mut self.books),
            (&gauges.books_conflated, &mut self.books_conflated),
            (&gauges.slow_closed, &mut self.slow),
        ] {
            counter.add(std::mem::take(total));
        }
        gauges.outbox_bytes.set(self.waiting as u64);
    }
}
