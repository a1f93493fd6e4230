//! Turns a [`Draft`] into a [`Config`]: resolves names, converts symbols to each venue's format, and checks limits
//! against each other. All errors are collected.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::cluster::address::Address;
use crate::config::read::{Draft, ListItem, VenueDraft, unknown_venue};
use crate::config::{Config, ConfigPlace, Problem, VenueConfig, listing, select};
use crate::discovery::{Catalogue, List};
use crate::market::VenueId;
use crate::market::directory::AssetClaim;
use crate::net::listen::Network;
use crate::settings::near::nearest;
use crate::settings::quoted;
use crate::venues::DEFAULT_VENUES;
use crate::venues::listing::ListingEntry;
use crate::venues::{Opening, Venue};
use crate::wire::url::Url;

/// The default instruments: pairs that all venues of system 1 list (listings of 2021 to 2026).
pub(super) const DEFAULT_INSTRUMENTS: [&str; 9] =
    ["BTC/USDT", "ETH/USDT", "SOL/USDT", "XRP/USDT", "DOGE/USDT", "ADA/USDT", "AVAX/USDT", "LINK/USDT", "DOT/USDT"];

/// Most instruments; keeps memory bounded.
const INSTRUMENTS_MAX: usize = 10_000;

/// Shortest admin token, in characters.
const TOKEN_MIN: usize = 16;

/// Longest currency code, in characters.
const CODE_MAX: usize = 20;

/// Checks everything that involves more than one value. Relative paths are resolved below `directory`.
pub(super) fn resolve(mut draft: Draft, directory: &Path, catalogue: &Catalogue) -> Result<Config, Vec<Problem>> {
    let chosen = chosen_venues(&mut draft);
    check_limits(&mut draft);
    check_proxies(&mut draft);
    check_token(&mut draft);
    check_cluster(&mut draft);
    let (instruments, native) = resolve_instruments(&mut draft, &chosen, catalogue);
    let price_order = resolve_price_order(&mut draft, &chosen);
    let mut venues = Vec::with_capacity(chosen.len());
    for (&at, native) in chosen.iter().zip(native) {
        let venue = draft.known[at].venue;
        let settings = draft.known[at].settings.clone();
        let path = |key: &str| format!("venue.{}.{key}", venue.facts().name);
        if let Err(what) = check_address(&settings.address, venue) {
            refuse(&mut draft, &path("address"), what);
        } else if let Some(warning) = plain_text_warning(venue.facts().name, &settings.address) {
            draft.warnings.push(warning);
        }
        let ca_file = (!settings.ca_file.is_empty()).then(|| directory.join(&settings.ca_file));
        if let Some(Err(why)) = ca_file.as_ref().map(std::fs::File::open) {
            refuse(&mut draft, &path("ca_file"), format!("{} cannot be read: {why}", quoted(&settings.ca_file)));
        }
        // Shown as a full path, so that the listing has the same meaning from any directory.
        if let Some(file) = &ca_file {
            draft.known[at].settings.ca_file = file.display().to_string();
        }
        let claims = claims(&mut draft, at, &instruments, &native);
        let rest_address = rest_address(&draft.known[at]);
        let is_address = ["https://", "http://"].iter().any(|scheme| rest_address.starts_with(scheme));
        if !rest_address.is_empty() && !is_address {
            let what = format!("{} is not an address, expected https:// or http://", quoted(&rest_address));
            refuse(&mut draft, &path("rest_address"), what);
        }
        venues.push(VenueConfig {
            venue,
            address: settings.address,
            rest_address,
            taker_fee_pct: settings.taker_fee_pct,
            is_fee_set: draft.places.contains_key(&path("taker_fee_pct")),
            ca_file,
            witness: settings.witness,
            native,
            claims,
        });
    }
    warn_of_idle_tables(&mut draft, &chosen);
    if !draft.problems.is_empty() {
        return Err(draft.problems);
    }
    let state_dir = state_dir(&draft, directory);
    // Shown as a full path, so that the listing has the same meaning from any directory.
    if let Some(path) = &state_dir {
        draft.process.state_dir = path.display().to_string();
    } else if !draft.cluster.redis.is_empty() {
        let what =
            "state_dir: is empty, so after a restart without Redis there are no prices until the venues have answered";
        draft.warnings.push(what.to_owned());
    }
    let it = &mut draft.cluster;
    let files = [&mut it.history, &mut it.ca_file, &mut it.cert_file, &mut it.key_file];
    for path in files.into_iter().filter(|path| !path.is_empty()) {
        *path = directory.join(&*path).display().to_string();
    }
    let listing = listing::list(&mut draft, &venues, &instruments, &price_order);
    let Draft { gateway, quotes, detector, threads, feed, discovery, admin, books, cluster, warnings, .. } = draft;
    Ok(Config {
        venues,
        instruments,
        price_order,
        state_dir,
        gateway,
        quotes,
        detector,
        threads,
        feed,
        discovery,
        admin,
        books,
        cluster,
        warnings,
        listing,
    })
}

/// Directory for data that survives a restart, if configured.
pub(super) fn state_dir(draft: &Draft, directory: &Path) -> Option<PathBuf> {
    (!draft.process.state_dir.is_empty()).then(|| directory.join(&draft.process.state_dir))
}

/// Reports an error of a whole key, at the origin of its value.
fn refuse(draft: &mut Draft, path: &str, what: String) {
    let place = draft.places.get(path).cloned().unwrap_or_default();
    draft.problems.push(Problem { place, key: path.to_owned(), what });
}

fn refuse_item(draft: &mut Draft, path: &str, item: &ListItem, what: String) {
    draft.problems.push(Problem { place: item.place.clone(), key: path.to_owned(), what });
}

/// Indices into `draft.known` of the configured venues, in their order.
fn chosen_venues(draft: &mut Draft) -> Vec<usize> {
    let Some(items) = draft.venues.clone() else { return (0..draft.known.len().min(DEFAULT_VENUES)).collect() };
    let mut chosen = Vec::new();
    for item in &items {
        match draft.known.iter().position(|known| known.venue.facts().name == item.text) {
            Some(at) if chosen.contains(&at) => {
                refuse_item(draft, "venues", item, format!("{} is named twice", quoted(&item.text)));
            }
            Some(at) => chosen.push(at),
            None => {
                let what = unknown_venue(&item.text, draft.known.iter().map(|known| known.venue.facts().name));
                refuse_item(draft, "venues", item, what);
            }
        }
    }
    if items.is_empty() {
        refuse(draft, "venues", "is empty, expected at least one venue".to_owned());
    } else if chosen.len() == 1 && items.len() == 1 {
        draft.warnings.push("venues: only one venue, so there are prices but no opportunities".to_owned());
    }
    chosen
}

/// The REST address from which the list is read; empty if `address` is not the venue's own and no REST address is set.
pub(super) fn rest_address(known: &VenueDraft) -> String {
    let settings = &known.settings;
    match settings.rest_address.is_empty() {
        true if settings.address == known.venue.facts().address => known.venue.listing().address.to_owned(),
        _ => settings.rest_address.clone(),
    }
}

/// The instruments of the process, and for each chosen venue the native symbol of each.
fn resolve_instruments(
    draft: &mut Draft,
    chosen: &[usize],
    catalogue: &Catalogue,
) -> (Vec<String>, Vec<Vec<Option<String>>>) {
    let is_default = draft.instruments.is_none();
    let names: Vec<&str> = chosen.iter().map(|&at| draft.known[at].venue.facts().name).collect();
    let lists: Vec<(&str, Option<&List>)> = names.iter().map(|name| (*name, catalogue.of(name))).collect();
    let limits = select::SelectionLimits { common_to: draft.discovery.common_to, top: draft.discovery.top };
    let shared = match draft.instruments.clone() {
        Some(items) => {
            let items = expanded(draft, "instruments", items, &lists, limits);
            checked_symbols(draft, "instruments", &items)
        }
        None => {
            let item = |text: &str| ListItem { text: text.to_owned(), place: ConfigPlace::Default, chosen: false };
            DEFAULT_INSTRUMENTS.map(item).into_iter().filter(|item| !draft.without.contains(&item.text)).collect()
        }
    };
    let mut names: Vec<String> = if is_default { Vec::new() } else { texts(&shared) };
    let mut quoted_by: Vec<HashMap<String, String>> = Vec::with_capacity(chosen.len());
    let mut unlisted = BTreeMap::new();
    for &at in chosen {
        let own = draft.known[at].instruments.clone();
        let path = own_path(draft.known[at].venue.facts().name);
        let own = own.map(|items| {
            let list: Vec<_> = lists.iter().copied().filter(|(name, _)| path == own_path(name)).collect();
            let items = expanded(draft, &path, items, &list, select::SelectionLimits::NONE);
            checked_symbols(draft, &path, &items)
        });
        let (path, items) = own.as_ref().map_or(("instruments", &shared), |items| (path.as_str(), items));
        let list = catalogue.of(draft.known[at].venue.facts().name);
        let native = native_symbols(draft, at, (path, items), own.is_none() && is_default, list, &mut unlisted);
        for item in items.iter().filter(|item| native.contains_key(&item.text)) {
            if !names.contains(&item.text) {
                names.push(item.text.clone());
            }
        }
        quoted_by.push(native);
    }
    for (symbol, venues) in unlisted {
        let is_quoted = quoted_by.iter().any(|native| native.contains_key(&symbol));
        let rest = if is_quoted { "left out there" } else { "and no other venue quotes it" };
        draft.warnings.push(format!("instruments: {symbol} is not listed by {}, {rest}", venues.join(", ")));
    }
    // Without venues nothing is quoted; that has been reported already.
    if !is_default && !chosen.is_empty() {
        for item in shared.iter().filter(|item| !quoted_by.iter().any(|native| native.contains_key(&item.text))) {
            // If every venue rejected it, that has been reported already.
            if chosen.iter().all(|&at| draft.known[at].instruments.is_some()) {
                let what = format!("no venue quotes {}: each has `instruments` of its own", item.text);
                refuse_item(draft, "instruments", item, what);
            }
        }
    }
    let no_problem = draft.problems.is_empty();
    if names.len() > INSTRUMENTS_MAX {
        let what = format!("{} instruments in all, expected at most {INSTRUMENTS_MAX}", names.len());
        refuse(draft, "instruments", what);
    } else if names.is_empty() && no_problem {
        refuse(draft, "instruments", "is empty, expected at least one instrument such as \"BTC/USDT\"".to_owned());
    }
    let native = quoted_by.iter().map(|native| names.iter().map(|name| native.get(name).cloned()).collect()).collect();
    (names, native)
}

/// Path of the key with a venue's own instruments.
fn own_path(name: &str) -> String {
    format!("venue.{name}.instruments")
}

/// `items` with all patterns replaced by the instruments that they select.
fn expanded(
    draft: &mut Draft,
    path: &str,
    items: Vec<ListItem>,
    lists: &[(&str, Option<&List>)],
    limits: select::SelectionLimits,
) -> Vec<ListItem> {
    let mut all = Vec::with_capacity(items.len());
    let mut patterns = Vec::new();
    let without = draft.without.clone();
    for item in items.into_iter().filter(|item| !without.contains(&item.text)) {
        match select::Pattern::read(&item.text) {
            None => all.push(item),
            Some(Ok(pattern)) => patterns.push((pattern, item)),
            Some(Err(what)) => refuse_item(draft, path, &item, what),
        }
    }
    let Some((_, first)) = patterns.first().cloned() else { return all };
    let known: Vec<&List> = lists.iter().filter_map(|(_, list)| *list).collect();
    if known.is_empty() && all.is_empty() {
        let what = format!("{} selects from the venues' lists, but no list could be read", quoted(&first.text));
        refuse_item(draft, path, &first, what);
        return all;
    }
    for (name, _) in lists.iter().filter(|(_, list)| list.is_none()) {
        draft.warnings.push(format!(
            "{path}: the list of {name} could not be read; until it is, patterns select nothing there, and \
             only instruments named in full are requested"
        ));
    }
    if known.len() == lists.len() {
        let empty = patterns.iter().filter(|(pattern, _)| !pattern.selects_from(&known));
        draft.warnings.extend(empty.map(|(_, item)| {
            format!(
                "{path}: {} selects nothing, because no list has a traded instrument that matches",
                quoted(&item.text)
            )
        }));
    }
    let patterns: Vec<&select::Pattern> = patterns.iter().map(|(pattern, _)| pattern).collect();
    let mut written: HashSet<String> = all.iter().map(|item| item.text.clone()).collect();
    let select::Chosen { symbols, mut leveraged } = select::chosen(&patterns, &known, limits);
    leveraged.retain(|text| !written.contains(text) && !draft.without.contains(text));
    if let Some(example) = leveraged.first() {
        let count = leveraged.len();
        draft.warnings.push(format!(
            "{path}: patterns select no leveraged tokens; {count} would match, such as {example}; name the wanted ones in full"
        ));
    }
    for text in symbols {
        if !draft.without.contains(&text) && written.insert(text.clone()) {
            all.push(ListItem { text, place: first.place.clone(), chosen: true });
        }
    }
    all
}

fn texts(items: &[ListItem]) -> Vec<String> {
    items.iter().map(|item| item.text.clone()).collect()
}

/// The entries that are well-formed and not repeated. Reports the others.
fn checked_symbols(draft: &mut Draft, path: &str, items: &[ListItem]) -> Vec<ListItem> {
    let mut good: Vec<ListItem> = Vec::with_capacity(items.len());
    let mut seen = HashSet::new();
    for item in items {
        match check_symbol(&item.text) {
            Err(what) => refuse_item(draft, path, item, what),
            Ok(()) if !seen.insert(item.text.as_str()) => {
                refuse_item(draft, path, item, format!("{} is named twice", item.text));
            }
            Ok(()) => good.push(item.clone()),
        }
    }
    good
}

/// What the operator states about the assets of the venue at `at`, whose symbols are `native`, in the order of
/// `instruments`.
fn claims(
    draft: &mut Draft,
    at: usize,
    instruments: &[String],
    native: &[Option<String>],
) -> Vec<(String, AssetClaim)> {
    let name = draft.known[at].venue.facts().name;
    let mut claims: Vec<(String, AssetClaim)> = Vec::new();
    for (key, claim) in [("same_asset", AssetClaim::Same), ("other_asset", AssetClaim::Other)] {
        let path = format!("venue.{name}.{key}");
        let items = match claim {
            AssetClaim::Same => draft.known[at].same_asset.clone(),
            AssetClaim::Other => draft.known[at].other_asset.clone(),
        };
        for item in checked_symbols(draft, &path, &items.unwrap_or_default()) {
            if claims.iter().any(|(symbol, _)| *symbol == item.text) {
                refuse_item(draft, &path, &item, format!("{} is also in same_asset, keep one", item.text));
                continue;
            }
            let is_quoted =
                instruments.iter().zip(native).any(|(symbol, native)| *symbol == item.text && native.is_some());
            if !is_quoted {
                draft.warnings.push(format!("{path}: {} is not quoted there, left out", item.text));
            }
            claims.push((item.text, claim));
        }
    }
    claims
}

/// Checks for `BASE/QUOTE` in capitals and digits.
fn check_symbol(text: &str) -> Result<(), String> {
    if split_symbol(text).is_some() {
        return Ok(());
    }
    let what = format!("{} is not a symbol, expected BASE/QUOTE in capitals such as \"BTC/USDT\"", quoted(text));
    let near = mended(text).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    Err(what + &near)
}

/// The symbol that was probably intended: other letter case, another separator, or none.
fn mended(text: &str) -> Option<String> {
    let text = text.trim().to_uppercase().replace(['-', '_', ':', '\\'], "/");
    if split_symbol(&text).is_some() {
        return Some(text);
    }
    let base = ["USDT", "USDC", "USD", "EUR", "BTC"].iter().find_map(|quote| Some((text.strip_suffix(quote)?, quote)));
    base.map(|(base, quote)| format!("{base}/{quote}")).filter(|text| split_symbol(text).is_some())
}

/// Base and quote of a well-formed symbol.
fn split_symbol(text: &str) -> Option<(&str, &str)> {
    let is_code = |code: &str| {
        (1..=CODE_MAX).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    text.split_once('/').filter(|(base, quote)| is_code(base) && is_code(quote) && base != quote)
}

/// Symbol to native symbol, for the items that the venue has. With `is_default`, missing items are skipped without a
/// warning, since the user did not request them. Items of `instruments` that are named in full and not listed by the
/// venue are added to `unlisted`, with the venue's name.
fn native_symbols(
    draft: &mut Draft,
    at: usize,
    (path, items): (&str, &[ListItem]),
    is_default: bool,
    list: Option<&List>,
    unlisted: &mut BTreeMap<String, Vec<&'static str>>,
) -> HashMap<String, String> {
    let venue = draft.known[at].venue;
    let name = venue.facts().name;
    let list = list.map(|list| {
        let mut by_name: HashMap<(&str, &str), Vec<&ListingEntry>> = HashMap::with_capacity(list.entries.len());
        for entry in &list.entries {
            by_name.entry((&entry.base, &entry.quote)).or_default().push(entry);
        }
        by_name
    });
    let mut native: HashMap<String, String> = HashMap::with_capacity(items.len());
    let mut taken: HashMap<String, String> = HashMap::with_capacity(items.len());
    for item in items {
        let Some((base, quote)) = split_symbol(&item.text) else { continue };
        let listed: &[&ListingEntry] =
            list.as_ref().map_or(&[], |list| list.get(&(base, quote)).map_or(&[], Vec::as_slice));
        let symbol = match listed {
            [entry] => Ok(entry.native.clone()),
            [one, other, ..] => {
                let [one, other] = [one, other].map(|entry| quoted(&entry.native));
                let what = format!("{one} and {other} are both {} on {name}", item.text);
                if item.chosen {
                    draft.warnings.push(format!("{path}: {what}, left out there"))
                } else {
                    refuse_item(draft, path, item, what)
                }
                continue;
            }
            // Patterns select from lists, and this venue's list is not known.
            [] if item.is_of_pattern() && list.is_none() => continue,
            // The venue's list is known and does not contain it.
            [] if item.chosen && list.is_some() => {
                let own = |code| venue.codes().canonical(code).unwrap_or(code);
                let is_listed = list.as_ref().is_some_and(|list| list.contains_key(&(own(base), own(quote))));
                if let Some(why) = venue.codes().alien(base, quote).filter(|_| is_listed) {
                    draft.warnings.push(format!("{path}: {} is left out on {name}: {why}", item.text));
                }
                continue;
            }
            [] if list.is_some() && venue.native(base, quote).is_ok() => {
                match path {
                    "instruments" if is_default => {}
                    "instruments" => unlisted.entry(item.text.clone()).or_default().push(name),
                    _ => draft.warnings.push(format!("{path}: {name} does not list {}, left out", item.text)),
                }
                continue;
            }
            [] => venue.native(base, quote),
        };
        match symbol {
            Ok(symbol) => {
                if let Some(other) = taken.insert(symbol.clone(), item.text.clone()) {
                    let what = format!("{other} and {} are both {} on {name}; keep one", item.text, quoted(&symbol));
                    refuse_item(draft, path, item, what);
                }
                native.insert(item.text.clone(), symbol);
            }
            Err(_) if is_default || item.chosen => {}
            Err(why) => {
                let own = if path == "instruments" {
                    format!("; remove it, or give {name} its own list in [venue.{name}] instruments")
                } else {
                    String::new()
                };
                refuse_item(draft, path, item, format!("{name} cannot quote {}: {why}{own}", item.text));
            }
        }
    }
    native
}

/// The configured order first, then the other venues in their order.
fn resolve_price_order(draft: &mut Draft, chosen: &[usize]) -> Vec<VenueId> {
    let names: Vec<&'static str> = chosen.iter().map(|&at| draft.known[at].venue.facts().name).collect();
    let mut order = Vec::with_capacity(names.len());
    let path = "quotes.price_order";
    for item in draft.price_order.clone().unwrap_or_default() {
        let Some(at) = names.iter().position(|name| *name == item.text) else {
            // A known venue that is not configured is not a spelling error.
            let what = if draft.known.iter().any(|known| known.venue.facts().name == item.text) {
                format!("{} is not among the configured venues", quoted(&item.text))
            } else {
                unknown_venue(&item.text, names.iter().copied())
            };
            refuse_item(draft, path, &item, what);
            continue;
        };
        let id = VenueId(at as u16);
        if order.contains(&id) {
            refuse_item(draft, path, &item, format!("{} is named twice", quoted(&item.text)));
        } else {
            order.push(id);
        }
    }
    for at in 0..names.len() {
        let id = VenueId(at as u16);
        if !order.contains(&id) {
            order.push(id);
        }
    }
    order
}

/// Checks limits that depend on each other. The error is reported for the key that was set.
fn check_limits(draft: &mut Draft) {
    let feed = &draft.feed;
    // The ping must be sent before silence closes the connection, so these two may not be equal.
    let pairs = [
        ("feed.silence_ping_ms", feed.silence_ping_ms, "feed.silence_max_ms", feed.silence_max_ms, 1),
        ("feed.backoff_first_ms", feed.backoff_first_ms, "feed.backoff_max_ms", feed.backoff_max_ms, 0),
    ];
    for (small, less, large, more, gap) in pairs {
        if less + gap <= more {
            continue;
        }
        if draft.places.contains_key(large) && !draft.places.contains_key(small) {
            let least = less + gap;
            refuse(draft, large, format!("{more} is too small, expected at least {least}, because {small} is {less}"));
        } else {
            let most = more - gap;
            refuse(draft, small, format!("{less} is too large, expected at most {most}, because {large} is {more}"));
        }
    }
}

/// Checks that proxies are addresses and networks. Names are not accepted, since they would have to be resolved.
fn check_proxies(draft: &mut Draft) {
    let proxies = draft.gateway.proxies.clone();
    if let Err(item) = Network::list(&proxies) {
        refuse(draft, "gateway.proxies", format!("{} is not an address or a network such as 10.0.0.0/8", quoted(item)));
    }
}

/// Checks the admin token. One that can be guessed is worse than none.
fn check_token(draft: &mut Draft) {
    let (token, path) = (draft.admin.token.clone(), "admin.token");
    if token.is_empty() {
        return;
    }
    if !token.bytes().all(|b| b.is_ascii_graphic()) {
        refuse(draft, path, "contains blanks or characters outside ASCII".to_owned());
    } else if token.len() < TOKEN_MIN {
        refuse(draft, path, format!("has {} characters, expected at least {TOKEN_MIN}", token.len()));
    }
}

/// Checks the settings of a cluster against each other, as far as possible without Redis.
fn check_cluster(draft: &mut Draft) {
    let cluster = draft.cluster.clone();
    if cluster.redis.is_empty() {
        return;
    }
    if cluster.cert_file.is_empty() != cluster.key_file.is_empty() {
        let (path, other) =
            if cluster.cert_file.is_empty() { ("cert_file", "key_file") } else { ("key_file", "cert_file") };
        refuse(draft, &format!("cluster.{path}"), format!("is empty, though cluster.{other} is not"));
    }
    if let Err(what) = Address::parse(&cluster.redis) {
        refuse(draft, "cluster.redis", what);
    }
    if let Some(what) = misnamed(&cluster.prefix, 100).filter(|_| !cluster.prefix.is_empty()) {
        refuse(draft, "cluster.prefix", what);
    } else if cluster.prefix.is_empty() {
        refuse(draft, "cluster.prefix", "is empty, expected a word such as \"spreadwire\"".to_owned());
    }
    if let Some(what) = misnamed(&cluster.instance, 100) {
        refuse(draft, "cluster.instance", what);
    }
    // A lease must survive one failed renewal and the next attempt; otherwise a single late answer ends it.
    let lease = cluster.lease_ms;
    let renew = if cluster.renew_ms == 0 { lease / 3 } else { cluster.renew_ms };
    let (path, most) = ("cluster.renew_ms", (lease - 1) / 2);
    if renew > most {
        let what = format!("{renew} is too large, expected at most {most}, less than half of cluster.lease_ms");
        refuse(draft, path, what);
    } else if cluster.call_ms > lease / 3 {
        let (call, most) = (cluster.call_ms, lease / 3);
        let what = format!("{call} is too large, expected at most {most}, a third of cluster.lease_ms");
        refuse(draft, "cluster.call_ms", what);
    }
}

/// What is wrong with a name that becomes part of keys and ids, if anything.
fn misnamed(name: &str, length_max: usize) -> Option<String> {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:{}".contains(&b);
    if name.len() > length_max {
        return Some(format!("has {} characters, expected at most {length_max}", name.len()));
    }
    (!name.bytes().all(is_plain))
        .then(|| format!("{} contains characters other than letters, digits and - _ . :", quoted(name)))
}

/// Checks for `ws://` or `wss://`, a host, and optionally a port and a path. If the venue hands out its address over
/// REST, `http://` and `https://` are valid too.
fn check_address(address: &str, venue: &dyn Venue) -> Result<(), String> {
    let schemes: &[&str] = match venue.facts().opening {
        Opening::Direct | Opening::Prompt { .. } | Opening::Patient { .. } => &["wss://", "ws://"],
        Opening::Token { .. } => &["https://", "http://", "wss://", "ws://"],
    };
    let expected = format!("expected {}HOST[:PORT][/PATH]", schemes.join(" or "));
    let refused = |what: &str| format!("{} {what}, {expected}", quoted(address));
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(why) => return Err(refused(&why.to_string())),
    };
    if !schemes.iter().any(|scheme| scheme.trim_end_matches("://") == url.scheme) {
        let near = nearest(url.scheme, ["wss", "ws", "https", "http"]);
        return Err(refused(if near.is_some() { "has another scheme" } else { "has no scheme" }));
    }
    Ok(())
}

/// Warns of an unencrypted connection to another machine, on which prices can be changed in transit.
fn plain_text_warning(name: &str, address: &str) -> Option<String> {
    let url = Url::parse(address).ok()?;
    (!url.is_tls() && !url.is_local()).then(|| {
        format!("venue.{name}.address: {} is not encrypted; prices can be changed in transit", quoted(address))
    })
}

/// Warns of tables of venues that are not configured, and of feed threads without a venue.
fn warn_of_idle_tables(draft: &mut Draft, chosen: &[usize]) {
    for at in (0..draft.known.len()).filter(|at| !chosen.contains(at)) {
        let name = draft.known[at].venue.facts().name;
        let prefix = format!("venue.{name}.");
        if draft.places.keys().any(|path| path.starts_with(&prefix)) {
            draft.warnings.push(format!("venue.{name}: has no effect, {name} is not in `venues`"));
        }
    }
    let (feeds, venues) = (draft.threads.feeds, chosen.len());
    if feeds > venues.max(1) {
        draft.warnings.push(format!("threads.feeds: {feeds} is more than the {venues} venues; the rest stay idle"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::venues::codes::Codes;
    use crate::venues::listing::Listing;
    use crate::venues::{DecodeError, ExchangeSide, Facts, FeedCodec, Symbols, venue};

    /// A venue without a separator between base and quote, and without rules for either.
    struct Unmarked(&'static dyn Venue);

    impl Venue for Unmarked {
        fn facts(&self) -> &'static Facts {
            self.0.facts()
        }
        fn native(&self, base: &str, quote: &str) -> Result<String, String> {
            Ok(format!("{base}{quote}"))
        }
        fn symbol_of(&self) -> fn(&str) -> Option<String> {
            self.0.symbol_of()
        }
        fn codec(&self, symbols: Symbols) -> Box<dyn FeedCodec> {
            self.0.codec(symbols)
        }
        fn codes(&self) -> Codes {
            self.0.codes()
        }
        fn listing(&self) -> Listing {
            self.0.listing()
        }
        fn read_listing(&self, reply: &[u8]) -> Result<Vec<ListingEntry>, DecodeError> {
            self.0.read_listing(reply)
        }
        fn exchange_side(&self) -> Box<dyn ExchangeSide> {
            self.0.exchange_side()
        }
    }

    #[test]
    fn two_instruments_with_one_native_symbol_are_named_both() {
        let known: &'static Unmarked = Box::leak(Box::new(Unmarked(venue("okx").unwrap())));
        let text = "instruments = [\"AB/CDE\", \"ABC/DE\", \"X/Y\"]";
        let error = Config::build("a.toml", text, Path::new("."), &[], &[known]).unwrap_err();
        assert_eq!(error.to_string(), "a.toml:1: instruments: AB/CDE and ABC/DE are both `ABCDE` on okx; keep one");
    }

    #[test]
    fn addresses_have_a_scheme_a_host_and_perhaps_a_port() {
        let (direct, token) = (venue("okx").unwrap(), venue("kucoin").unwrap());
        for good in ["ws://127.0.0.1:9000/okx/ws/v5/public", "wss://a.b", "ws://[::1]:9", "wss://a:443/b?c=d"] {
            assert_eq!(check_address(good, direct), Ok(()), "{good}");
            assert_eq!(check_address(good, token), Ok(()), "{good}");
        }
        for bad in [
            "",
            "a.b",
            "ws:/a",
            "ws://",
            "ws://:80",
            "ws://a:0",
            "ws://a:65536",
            "ws://a:b",
            "ws://u@a",
            "ws://a b",
            "ftp://a",
        ] {
            assert!(check_address(bad, direct).is_err(), "{bad}");
            assert!(check_address(bad, token).is_err(), "{bad}");
        }
        assert!(check_address("https://api.kucoin.com", token).is_ok());
        assert!(check_address("https://api.kucoin.com", direct).is_err());
    }

    #[test]
    fn a_plain_address_is_worth_a_warning_only_when_it_leaves_the_machine() {
        for loud in ["ws://10.0.0.1/x", "ws://localhost.example:1", "ws://127.example", "http://a.b"] {
            assert!(plain_text_warning("okx", loud).is_some(), "{loud}");
        }
        for quiet in ["wss://a.b", "ws://127.0.0.1:1/x", "ws://localhost:1", "ws://[::1]:1"] {
            assert_eq!(plain_text_warning("okx", quiet), None, "{quiet}");
        }
    }
}
