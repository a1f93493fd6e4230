//! Names as clients spell them. A known name is stored once for all clients that use it. An unknown name is only part of
//! the list that its client sent, since a client may send thousands of names that no venue quotes. Pure.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::gateway::slab::{Slab, shrink};
use crate::gateway::view::PriceFormat;
use crate::market::InstrumentId;

/// Names in the order in which a client sent them, in one allocation: the length of each in two bytes, then its text.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameList(Box<[u8]>);

impl NameList {
    /// A list of `names`, each shorter than 64 KiB.
    #[must_use]
    pub fn new(names: &[String]) -> Self {
        let mut bytes = Vec::with_capacity(names.iter().map(|name| name.len() + 2).sum());
        for name in names {
            bytes.extend_from_slice(&(name.len() as u16).to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        Self(bytes.into())
    }

    /// The names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut rest: &[u8] = &self.0;
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first_chunk::<2>()?;
            let (name, after) = after.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
            rest = after;
            std::str::from_utf8(name).ok()
        })
    }

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A known name.
pub struct Name {
    text: Box<str>,
    /// As a JSON string.
    json: Box<[u8]>,
    uses: u32,
    /// Subscription sets that contain it.
    pub(crate) sets: Vec<u32>,
    /// The instrument of a symbol; `None` for an exchange, and for a pair in USD that a pair in USDT serves.
    instrument: Option<InstrumentId>,
}

/// `None` for an unknown name; for a known one its instrument, if it has one.
pub(crate) type Meaning = Option<Option<InstrumentId>>;

/// The names of one kind.
#[derive(Default)]
pub struct Names {
    ids: HashMap<Box<str>, u32>,
    slab: Slab<Name>,
    /// The spellings of each instrument.
    spellings: FxHashMap<InstrumentId, Vec<u32>>,
    /// Hashes of unknown names, and how many lists contain them. Two names with the same hash count as one.
    unknown: FxHashMap<u32, u32>,
    bytes: usize,
}

/// Bytes of a name in addition to its text, about.
pub(crate) const NAME_BYTES: usize = 224;

/// Bytes of an unknown name, about.
const UNKNOWN_BYTES: usize = 16;

fn hash(name: &str) -> u32 {
    let mut hasher = FxHasher::default();
    name.hash(&mut hasher);
    (hasher.finish() >> 16) as u32
}

impl Names {
    /// Adds the names of `list` for the set `set`. Returns the ids of the known ones, in their order.
    pub fn add(&mut self, list: &NameList, set: u32, meaning: impl Fn(&str) -> Meaning) -> Vec<u32> {
        let mut known = Vec::new();
        for name in list.iter() {
            match meaning(name) {
                Some(instrument) => known.push(self.use_by(name, set, instrument)),
                None => *self.unknown.entry(hash(name)).or_default() += 1,
            }
        }
        known.shrink_to_fit();
        known
    }

    /// The same for the names that are known by now and were not when `known` was returned.
    pub(crate) fn add_new(
        &mut self,
        list: &NameList,
        set: u32,
        known: &[u32],
        meaning: impl Fn(&str) -> Meaning,
    ) -> Vec<u32> {
        let known: FxHashSet<u32> = known.iter().copied().collect();
        let unknown = list.iter().filter(|name| self.ids.get(*name).is_none_or(|id| !known.contains(id)));
        let added: Vec<(&str, Option<InstrumentId>)> =
            unknown.filter_map(|name| Some((name, meaning(name)?))).collect();
        let begin = |(name, instrument): (&str, Option<InstrumentId>)| {
            self.remove_unknown(name);
            self.use_by(name, set, instrument)
        };
        added.into_iter().map(begin).collect()
    }

    fn use_by(&mut self, text: &str, set: u32, instrument: Option<InstrumentId>) -> u32 {
        let id = match self.ids.get(text) {
            Some(id) => *id,
            None => self.begin(text, instrument),
        };
        if let Some(name) = self.slab.get_mut(id) {
            name.uses += 1;
            name.sets.push(set);
        }
        id
    }

    fn begin(&mut self, text: &str, instrument: Option<InstrumentId>) -> u32 {
        let mut json = Vec::with_capacity(text.len() + 2);
        crate::protocol::string(text, &mut json);
        let name = Name { text: text.into(), json: json.into(), uses: 0, sets: Vec::new(), instrument };
        let id = self.slab.insert(name);
        self.ids.insert(text.into(), id);
        if let Some(instrument) = instrument {
            self.spellings.entry(instrument).or_default().push(id);
        }
        self.bytes += NAME_BYTES + 3 * text.len();
        id
    }

    /// Removes the names of `list` from the set `set`, whose known ones are `known`.
    pub fn remove(&mut self, list: &NameList, set: u32, known: &[u32]) {
        let known: FxHashSet<u32> = known.iter().copied().collect();
        for name in list.iter() {
            match self.ids.get(name).copied().filter(|id| known.contains(id)) {
                Some(id) => self.unuse(id, set),
                None => self.remove_unknown(name),
            }
        }
        shrink(&mut self.ids);
        shrink(&mut self.unknown);
    }

    fn remove_unknown(&mut self, name: &str) {
        let hash = hash(name);
        if let Some(uses) = self.unknown.get_mut(&hash) {
            *uses -= 1;
            if *uses == 0 {
                self.unknown.remove(&hash);
            }
        }
    }

    fn unuse(&mut self, id: u32, set: u32) {
        let Some(name) = self.slab.get_mut(id) else { return };
        name.uses -= 1;
        if let Some(at) = name.sets.iter().position(|b| *b == set) {
            name.sets.swap_remove(at);
        }
        if name.uses > 0 {
            return;
        }
        let Some(name) = self.slab.remove(id) else { return };
        self.ids.remove(&name.text);
        self.bytes -= NAME_BYTES + 3 * name.text.len();
        if let Some(instrument) = name.instrument
            && let Some(spellings) = self.spellings.get_mut(&instrument)
        {
            spellings.retain(|other| *other != id);
            if spellings.is_empty() {
                self.spellings.remove(&instrument);
            }
        }
    }

    /// Number of names in use, unknown ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slab.len() + self.unknown.len()
    }

    /// Whether no name is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of names in addition to the lists that contain them, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes + self.unknown.len() * UNKNOWN_BYTES
    }

    /// The text of `id`.
    #[must_use]
    pub fn text(&self, id: u32) -> &str {
        self.slab.get(id).map_or("", |name| &name.text)
    }

    /// `id` as a JSON string.
    #[must_use]
    pub fn json(&self, id: u32) -> &[u8] {
        self.slab.get(id).map_or(b"\"\"", |name| &name.json)
    }

    /// The instrument of `id`.
    #[must_use]
    pub fn instrument(&self, id: u32) -> Option<InstrumentId> {
        self.slab.get(id)?.instrument
    }

    /// The known names in use.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.slab.iter().map(|(_, name)| &*name.text)
    }

    /// The spellings of `instrument` that are in use.
    pub fn spellings(&self, instrument: InstrumentId) -> impl Iterator<Item = (u32, &Name)> {
        let ids = self.spellings.get(&instrument).map_or(&[] as &[u32], Vec::as_slice);
        ids.iter().filter_map(|id| Some((*id, self.slab.get(*id)?)))
    }
}

/// The names of all clients.
#[derive(Default)]
pub struct NameTables {
    /// Symbols of WebSocket clients.
    pub symbols: Names,
    /// Exchanges of WebSocket clients.
    pub exchanges: Names,
    /// Pairs of streams.
    pub pairs: Names,
}

impl NameTables {
    /// The pairs of streams, otherwise the symbols of WebSocket clients.
    pub(crate) fn of_format(&mut self, format: PriceFormat) -> &mut Names {
        if format.is_stream() { &mut self.pairs } else { &mut self.symbols }
    }

    /// Bytes of names in addition to the lists that contain them, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.symbols.size() + self.exchanges.size() + self.pairs.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_contains_its_names_in_order() {
        let names = ["", "BTC/USDT", "\u{0}\"é", "x"].map(str::to_owned);
        let list = NameList::new(&names);
        assert!(list.iter().eq(names.iter().map(String::as_str)));
        assert_eq!(list.size(), 4 * 2 + 8 + 4 + 1);
    }

    #[test]
    fn an_unknown_name_is_counted_and_may_become_known() {
        let meaning = |name: &str| (name == "A").then_some(Some(InstrumentId(7)));
        let later = |name: &str| (name != "C").then_some(Some(InstrumentId(7)));
        let list = NameList::new(&["A", "B", "C"].map(str::to_owned));
        let mut names = Names::default();
        let known = names.add(&list, 1, meaning);
        assert_eq!((known.len(), names.len(), names.texts().count()), (1, 3, 1));
        let late = names.add_new(&list, 1, &known, later);
        assert_eq!((late.len(), names.len(), names.spellings(InstrumentId(7)).count()), (1, 3, 2));
        let other = names.add(&list, 2, meaning);
        assert_eq!((other.len(), names.len()), (1, 4), "B is unknown in the second list");
        names.remove(&list, 2, &other);
        names.remove(&list, 1, &[known, late].concat());
        assert!(names.is_empty() && names.size() == 0 && names.spellings.is_empty());
    }
}
