//! Names as clients spell them. What means something here is kept once however many clients use it; the rest is only
//! part of the list that its client sent, since a client may send thousands of names that nobody quotes.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use crate::gateway::slots::{Slots, give_back};
use crate::market::InstrumentId;

/// Names in the order in which a client sent them, in one piece of memory: the length of each in two bytes, then its text.
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

    /// Bytes that it takes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A name that means something here.
pub struct Name {
    text: Box<str>,
    /// As a JSON string.
    json: Box<[u8]>,
    uses: u32,
    /// Bundles that have it among their symbols.
    pub bundles: Vec<u32>,
    /// What a symbol means; `None` for an exchange, and for a pair that only another one stands in for.
    instrument: Option<InstrumentId>,
}

/// What a name means, if anything: for a symbol the instrument.
pub type Meaning = Option<Option<InstrumentId>>;

/// Names of one kind.
#[derive(Default)]
pub struct Names {
    ids: HashMap<Box<str>, u32>,
    slots: Slots<Name>,
    /// The spellings of each instrument.
    spellings: FxHashMap<InstrumentId, Vec<u32>>,
    /// Hashes of the names that mean nothing, and how many lists they are in. Two names with one hash count as one.
    strays: FxHashMap<u32, u32>,
    bytes: usize,
}

/// Bytes that a name takes beside its text, about.
pub const NAME_BYTES: usize = 224;

/// Bytes that a name takes that means nothing, about.
const STRAY_BYTES: usize = 16;

fn hash(name: &str) -> u32 {
    let mut hasher = FxHasher::default();
    name.hash(&mut hasher);
    (hasher.finish() >> 16) as u32
}

impl Names {
    /// The ids of those names of `list` that mean something, in its order, from now on in use by `bundle`.
    pub fn add(&mut self, list: &NameList, bundle: u32, meaning: impl Fn(&str) -> Meaning) -> Vec<u32> {
        let mut known = Vec::new();
        for name in list.iter() {
            match meaning(name) {
                Some(instrument) => known.push(self.use_by(name, bundle, instrument)),
                None => *self.strays.entry(hash(name)).or_default() += 1,
            }
        }
        known.shrink_to_fit();
        known
    }

    /// The same for those that `known` does not hold yet: they mean something since then.
    pub fn add_late(
        &mut self,
        list: &NameList,
        bundle: u32,
        known: &[u32],
        meaning: impl Fn(&str) -> Meaning,
    ) -> Vec<u32> {
        let known: FxHashSet<u32> = known.iter().copied().collect();
        let unknown = list.iter().filter(|name| self.ids.get(*name).is_none_or(|id| !known.contains(id)));
        let late: Vec<(&str, Option<InstrumentId>)> = unknown.filter_map(|name| Some((name, meaning(name)?))).collect();
        let begin = |(name, instrument): (&str, Option<InstrumentId>)| {
            self.forget_stray(name);
            self.use_by(name, bundle, instrument)
        };
        late.into_iter().map(begin).collect()
    }

    fn use_by(&mut self, text: &str, bundle: u32, instrument: Option<InstrumentId>) -> u32 {
        let id = match self.ids.get(text) {
            Some(id) => *id,
            None => self.begin(text, instrument),
        };
        if let Some(name) = self.slots.get_mut(id) {
            name.uses += 1;
            name.bundles.push(bundle);
        }
        id
    }

    fn begin(&mut self, text: &str, instrument: Option<InstrumentId>) -> u32 {
        let mut json = Vec::with_capacity(text.len() + 2);
        crate::protocol::string(text, &mut json);
        let name = Name { text: text.into(), json: json.into(), uses: 0, bundles: Vec::new(), instrument };
        let id = self.slots.insert(name);
        self.ids.insert(text.into(), id);
        if let Some(instrument) = instrument {
            self.spellings.entry(instrument).or_default().push(id);
        }
        self.bytes += NAME_BYTES + 3 * text.len();
        id
    }

    /// `bundle` no longer uses the names of `list`, of which it had `known`.
    pub fn remove(&mut self, list: &NameList, bundle: u32, known: &[u32]) {
        let known: FxHashSet<u32> = known.iter().copied().collect();
        for name in list.iter() {
            match self.ids.get(name).copied().filter(|id| known.contains(id)) {
                Some(id) => self.unuse(id, bundle),
                None => self.forget_stray(name),
            }
        }
        give_back(&mut self.ids);
        give_back(&mut self.strays);
    }

    fn forget_stray(&mut self, name: &str) {
        let hash = hash(name);
        if let Some(uses) = self.strays.get_mut(&hash) {
            *uses -= 1;
            if *uses == 0 {
                self.strays.remove(&hash);
            }
        }
    }

    fn unuse(&mut self, id: u32, bundle: u32) {
        let Some(name) = self.slots.get_mut(id) else { return };
        name.uses -= 1;
        if let Some(at) = name.bundles.iter().position(|b| *b == bundle) {
            name.bundles.swap_remove(at);
        }
        if name.uses > 0 {
            return;
        }
        let Some(name) = self.slots.remove(id) else { return };
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

    /// How many names are in use, with those that mean nothing.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() + self.strays.len()
    }

    /// Whether no name is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that names take beside the lists that they are in, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes + self.strays.len() * STRAY_BYTES
    }

    /// `id` as its client spells it.
    #[must_use]
    pub fn text(&self, id: u32) -> &str {
        self.slots.get(id).map_or("", |name| &name.text)
    }

    /// `id` as a JSON string.
    #[must_use]
    pub fn json(&self, id: u32) -> &[u8] {
        self.slots.get(id).map_or(b"\"\"", |name| &name.json)
    }

    /// The instrument that `id` means.
    #[must_use]
    pub fn instrument(&self, id: u32) -> Option<InstrumentId> {
        self.slots.get(id)?.instrument
    }

    /// The names in use that mean something, as clients spell them.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.slots.iter().map(|(_, name)| &*name.text)
    }

    /// The spellings of `instrument` that are in use.
    pub fn spellings(&self, instrument: InstrumentId) -> impl Iterator<Item = (u32, &Name)> {
        let ids = self.spellings.get(&instrument).map_or(&[] as &[u32], Vec::as_slice);
        ids.iter().filter_map(|id| Some((*id, self.slots.get(*id)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_back_what_it_was_made_of() {
        let names = ["", "BTC/USDT", "\u{0}\"é", "x"].map(str::to_owned);
        let list = NameList::new(&names);
        assert!(list.iter().eq(names.iter().map(String::as_str)));
        assert_eq!(list.size(), 4 * 2 + 8 + 4 + 1);
    }

    #[test]
    fn a_name_that_means_nothing_is_counted_and_may_mean_something_later() {
        let meaning = |name: &str| (name == "A").then_some(Some(InstrumentId(7)));
        let later = |name: &str| (name != "C").then_some(Some(InstrumentId(7)));
        let list = NameList::new(&["A", "B", "C"].map(str::to_owned));
        let mut names = Names::default();
        let known = names.add(&list, 1, meaning);
        assert_eq!((known.len(), names.len(), names.texts().count()), (1, 3, 1));
        let late = names.add_late(&list, 1, &known, later);
        assert_eq!((late.len(), names.len(), names.spellings(InstrumentId(7)).count()), (1, 3, 2));
        let other = names.add(&list, 2, meaning);
        assert_eq!((other.len(), names.len()), (1, 4), "B is a stray of the second list");
        names.remove(&list, 2, &other);
        names.remove(&list, 1, &[known, late].concat());
        assert!(names.is_empty() && names.size() == 0 && names.spellings.is_empty());
    }
}
