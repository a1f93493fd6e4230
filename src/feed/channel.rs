//! A channel of a venue: its tops or its books, with their health and the lines that deliver them. Runs on the feed's
//! thread.

use crate::feed::factory::SessionFactory;
use crate::feed::kind::ChannelKind;
use crate::feed::line::Line;
use crate::feed::options::FeedOptions;
use crate::feed::pair::{Pair, Role};
use crate::feed::plan;
use crate::feed::session::{Session, entries};
use crate::feed::slots::Slots;
use crate::feed::venue::FeedVenue;
use crate::feed::venue_health::VenueHealth;
use crate::market::VenueId;
use crate::metrics::{Board, LinkState, VenueGauges};
use crate::time::MonoNs;
use crate::venues::{SymbolEntry, Venue};

/// One channel of a venue.
pub(super) struct Channel {
    pub id: VenueId,
    pub kind: ChannelKind,
    /// Index of the venue in the feed.
    pub place: usize,
    venue: &'static dyn Venue,
    witness: bool,
    pub health: VenueHealth,
    pub pairs: Vec<Pair>,
    /// A dialer fetches a page for one of its lines.
    pub(crate) page_under_way: bool,
    /// Number of the last request for an immediate retry that was followed.
    pub retries: u64,
}

impl Channel {
    /// A channel without lines. `place` is the index of `venue` in the feed.
    pub fn new(place: usize, venue: &FeedVenue, kind: ChannelKind, options: &FeedOptions, seed: u64) -> Self {
        let number = u64::from(venue.id.0) << 1 | u64::from(kind == ChannelKind::Books);
        let seed = seed.wrapping_add(number << 48);
        Self {
            id: venue.id,
            kind,
            place,
            venue: venue.venue,
            witness: venue.witness,
            health: VenueHealth::new(venue.venue.facts().limits.connects, options, seed),
            pairs: Vec::new(),
            page_under_way: false,
            retries: 0,
        }
    }

    /// The most instruments of one line.
    fn line_max(&self) -> usize {
        self.venue.facts().limits.instruments.max(1)
    }

    /// Its first pairs, with the instruments that the directory has for the venue. `at` is its index.
    pub(crate) fn set_up(&mut self, at: usize, factory: &SessionFactory, slots: &mut Slots, now: MonoNs) {
        let plans = plan::evenly(&entries(&factory.directory, self.id), self.line_max());
        let pairs = plans.len();
        for plan in plans {
            let sessions = self.sessions(&plan, pairs, factory);
            self.add_pair(plan, sessions, |pair| slots.add(at, pair), now);
        }
        self.note_alone();
    }

    /// Spreads the instruments that the directory now has over the pairs; those whose instruments do not change are left
    /// alone. `at` is its index.
    pub fn spread(&mut self, at: usize, factory: &SessionFactory, slots: &mut Slots, now: MonoNs) {
        let before: Vec<Vec<SymbolEntry>> = self.pairs.iter().map(|pair| pair.plan.clone()).collect();
        let plans = plan::spread(&before, entries(&factory.directory, self.id), self.line_max());
        // If nothing has changed, an instrument was removed and added again, and its quotes were dropped in between.
        let is_back = plans == before;
        for (n, plan) in plans.into_iter().enumerate() {
            match before.get(n) {
                Some(old) => {
                    let is_new = |entry: &SymbolEntry| old.iter().all(|old| old.id != entry.id);
                    let is_more = is_back || plan.iter().any(is_new);
                    self.pairs[n].set_plan(plan, is_more);
                }
                None => {
                    let sessions = self.sessions(&plan, before.len(), factory);
                    self.add_pair(plan, sessions, |pair| slots.add(at, pair), now);
                }
            }
        }
        self.pairs.iter_mut().for_each(|pair| pair.review_plan(now));
        self.note_alone();
    }

    /// Sessions of a new pair: active and standby.
    fn sessions(&self, plan: &[SymbolEntry], pairs: usize, factory: &SessionFactory) -> [Session; 2] {
        [(); 2].map(|()| factory.session((self.id, self.venue, self.witness), self.kind, pairs, plan.to_vec()))
    }

    /// `slots_of` takes the slots of a line of the pair with this number.
    fn add_pair(
        &mut self,
        plan: Vec<SymbolEntry>,
        sessions: [Session; 2],
        mut slots_of: impl FnMut(usize) -> [usize; 2],
        now: MonoNs,
    ) {
        let n = self.pairs.len();
        let [active, standby] = sessions.map(|session| Line::new(self.name(), slots_of(n), session, now));
        self.pairs.push(Pair::new(self.id, plan, active, standby, self.kind == ChannelKind::Books));
    }

    fn note_alone(&mut self) {
        let is_alone = self.busy_pairs() <= 1;
        self.pairs.iter_mut().for_each(|pair| pair.is_alone = is_alone);
    }

    /// Name in log lines.
    fn name(&self) -> String {
        let books = if self.kind == ChannelKind::Books { " (books)" } else { "" };
        format!("{}{books}", self.venue.facts().name)
    }

    /// Makes the session of an unconnected line follow its plan.
    pub fn renew(&mut self, pair: usize, role: Role, factory: &SessionFactory) {
        let (venue, kind, pairs) = ((self.id, self.venue, self.witness), self.kind, self.pairs.len());
        self.pairs[pair].renew(role, |plan| factory.session(venue, kind, pairs, plan));
    }

    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.pairs.iter().flat_map(Pair::lines)
    }

    pub(crate) fn lines_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.pairs.iter_mut().flat_map(Pair::lines_mut)
    }

    /// How many pairs have instruments.
    pub(crate) fn busy_pairs(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.is_busy()).count()
    }

    /// Whether the venue serves one of its lines.
    pub fn is_subscribed(&self) -> bool {
        self.lines().any(|line| line.session.is_subscribed())
    }

    pub fn gauges<'a>(&self, board: &'a Board) -> &'a VenueGauges {
        self.kind.gauges(board, self.id)
    }

    /// Its lines try again not later than `at`, if the health allows it.
    pub(crate) fn hurry(&mut self, at: MonoNs) {
        self.pairs.iter_mut().for_each(|pair| pair.hurry(at));
    }

    /// Publishes its state, which is the best of its active lines. With `is_on` it should be connected.
    pub fn show(&self, board: &Board, is_on: bool, now: MonoNs) {
        let gauges = self.gauges(board);
        let (mut best, mut open, mut wanted) = (LinkState::Idle, 0, 0);
        let mut next: Option<MonoNs> = None;
        for pair in self.pairs.iter().filter(|pair| pair.is_busy()) {
            best = [best, pair.active.link_state()].into_iter().max_by_key(|state| state.rank()).unwrap_or_default();
            open += u64::from(pair.active.session.is_open());
            wanted += 1;
            next = pair.lines().filter_map(|line| line.next_attempt(&self.health)).chain(next).min();
        }
        if !is_on {
            (best, wanted) = (LinkState::Standby, 0);
        }
        gauges.dial.held_until.set(self.health.not_before().0);
        gauges.dial.next_attempt.set(next.map_or(0, |at| at.0.max(1)));
        gauges.connection.open.set(open);
        gauges.connection.wanted.set(wanted);
        if gauges.connection.state() != best {
            gauges.connection.set_state(best, now);
        }
    }
}
