//! The configuration as its readers meet it: texts in, checked values or sentences out.

use std::path::Path;

use spreadwire::config::{Config, Pin, Spin};
use spreadwire::market::directory::AssetClaim;
use spreadwire::market::rule::ThresholdOn;
use spreadwire::venues::{DEFAULT_VENUES, VENUES};

fn build(source: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment: Vec<(String, String)> =
        environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Config::build("a.toml", source, Path::new("."), &environment, VENUES).map_err(|error| error.to_string())
}

fn read(source: &str) -> Config {
    build(source, &[]).unwrap()
}

/// The lines that are said about a configuration.
fn refused(source: &str) -> Vec<String> {
    build(source, &[]).unwrap_err().lines().map(str::to_owned).collect()
}

/// One line of complaint, about this line and key, with these words.
fn check_refused(source: &str, beginning: &str, words: &[&str]) {
    let lines = refused(source);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].starts_with(beginning), "{}", lines[0]);
    for word in words {
        assert!(lines[0].contains(word), "`{word}` is not in: {}", lines[0]);
    }
}

#[test]
fn an_empty_file_is_the_default() {
    let config = read("");
    assert_eq!(config.venues.len(), DEFAULT_VENUES);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    assert_eq!(config.detector.threshold_pct.to_string(), "0.5");
    assert_eq!(config.detector.threshold_on, ThresholdOn::Gross);
    assert_eq!(config.detector.debounce_ms, 60_000);
    assert_eq!((config.threads.pin, config.threads.spin, config.threads.feeds), (Pin::Auto, Spin::Off, 1));
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.gateway.beat_ms, 500);
    let directory = config.directory();
    let btc = directory.instrument_named("BTC/USDT").unwrap();
    for venue in &config.venues {
        let facts = venue.venue.facts();
        assert_eq!(venue.address, facts.address);
        assert_eq!(venue.taker_fee_pct, facts.taker_fee_pct.parse().unwrap());
        assert!(directory.is_quoted(btc, directory.venue_named(facts.name).unwrap()), "{}", facts.name);
    }
}

#[test]
fn venues_are_usable_by_name_alone_and_keep_their_order() {
    let config = read("venues = [\"okx\", \"binance\"]\nquotes.price_order = [\"binance\"]");
    let names: Vec<&str> = config.venues.iter().map(|venue| venue.name()).collect();
    assert_eq!(names, ["okx", "binance"]);
    let order: Vec<&str> = config.price_order.iter().map(|id| names[id.index()]).collect();
    assert_eq!(order, ["binance", "okx"]);
}

#[test]
fn a_venue_may_quote_other_instruments_than_the_rest() {
    let config = read(
        "venues = [\"binance\", \"kraken\"]\ninstruments = [\"BTC/USDT\"]\n[venue.kraken]\ninstruments = [\"BTC/USD\"]\n",
    );
    assert_eq!(config.instruments, ["BTC/USDT", "BTC/USD"]);
    assert_eq!(config.venues[0].native, [Some("BTCUSDT".to_owned()), None]);
    assert_eq!(config.venues[1].native, [None, Some("BTC/USD".to_owned())]);
    assert_eq!(config.directory().pairs(), 4);
}

#[test]
fn numbers_are_read_exactly() {
    for (text, value) in [
        ("0.1", "0.1"),
        ("0.100000", "0.1"),
        ("+0.5", "0.5"),
        ("5e-1", "0.5"),
        ("1", "1"),
        ("0", "0"),
        ("0.300001", "0.300001"),
        ("1_0.5", "10.5"),
    ] {
        let config = read(&format!("[detector]\nthreshold_pct = {text}\n[venue.okx]\ntaker_fee_pct = {text}\n"));
        assert_eq!(config.detector.threshold_pct.to_string(), value, "{text}");
        let okx = config.venues.iter().find(|venue| venue.name() == "okx").unwrap();
        assert_eq!(okx.taker_fee_pct.to_string(), value, "{text}");
    }
    assert_eq!(read("[gateway]\nbeat_ms = 1_000").gateway.beat_ms, 1000);
}

#[test]
fn each_mistake_has_its_line_key_and_what_was_expected() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("[gateway]\nlisen = \"127.0.0.1:1\"", "a.toml:2: gateway.lisen: ", &["unknown", "did you mean `listen`?"]),
        ("\n\n[gatway]\nx = 1", "a.toml:3: gatway: ", &["unknown", "did you mean `gateway`?"]),
        ("threshold_pct = 1", "a.toml:1: threshold_pct: ", &["did you mean `detector.threshold_pct`?"]),
        ("[feed]\nzzzzzz = 1", "a.toml:2: feed.zzzzzz: ", &["unknown", "silence_max_ms"]),
        ("[gateway]\nbeat_ms = \"fast\"", "a.toml:2: gateway.beat_ms: ", &["`fast`", "whole number from 10 to 60000"]),
        ("[gateway]\nbeat_ms = 9", "a.toml:2: gateway.beat_ms: ", &["9 is out of range", "10 to 60000"]),
        ("[gateway]\nbeat_ms = 60001", "a.toml:2: gateway.beat_ms: ", &["out of range"]),
        ("[gateway]\nbeat_ms = -5", "a.toml:2: gateway.beat_ms: ", &["out of range"]),
        ("[gateway]\nbeat_ms = 99999999999999999999", "a.toml:2: gateway.beat_ms: ", &["out of range"]),
        ("[gateway]\nbeat_ms = 50.0", "a.toml:2: gateway.beat_ms: ", &["not a whole number"]),
        ("[gateway]\nbeat_ms = true", "a.toml:2: gateway.beat_ms: ", &["true"]),
        ("[gateway]\nbeat_ms = [1]", "a.toml:2: gateway.beat_ms: ", &["an array"]),
        ("[gateway.beat_ms]\na = 1", "a.toml:1: gateway.beat_ms: ", &["a table"]),
        ("gateway = 3", "a.toml:1: gateway: ", &["an integer", "expected a table"]),
        ("[gateway]\nlisten = \"3000\"", "a.toml:2: gateway.listen: ", &["`3000`", "IP:PORT"]),
        ("[gateway]\nlisten = 3000", "a.toml:2: gateway.listen: ", &["3000", "IP:PORT"]),
        ("[detector]\nthreshold_pct = nan", "a.toml:2: detector.threshold_pct: ", &["not a decimal"]),
        ("[detector]\nthreshold_pct = -0.5", "a.toml:2: detector.threshold_pct: ", &["0 to 1000"]),
        ("[detector]\nthreshold_pct = 1000.5", "a.toml:2: detector.threshold_pct: ", &["out of range"]),
        ("[detector]\nthreshold_pct = 0.0000001", "a.toml:2: detector.threshold_pct: ", &["six decimals"]),
        ("[detector]\nthreshold_pct = \"0.5\"", "a.toml:2: detector.threshold_pct: ", &["not a number"]),
        ("[detector]\nthreshold_on = \"Net\"", "a.toml:2: detector.threshold_on: ", &["did you mean `net`?"]),
        ("[threads]\nspin = true", "a.toml:2: threads.spin: ", &["\"off\" or \"on\""]),
        ("venues = \"okx\"", "a.toml:1: venues: ", &["a string", "expected a list"]),
        ("venues = [\"okx\", 3]", "a.toml:1: venues: ", &["an integer", "expected texts"]),
        ("venues = [\n\"okx\",\n\"binanse\"]", "a.toml:3: venues: ", &["unknown venue", "did you mean `binance`?"]),
        ("venues = [\"okx\",\n\"okx\"]", "a.toml:2: venues: ", &["named twice"]),
        ("venues = []", "a.toml:1: venues: ", &["empty"]),
        ("[venue.krakn]\naddress = \"\"", "a.toml:1: venue.krakn: ", &["unknown venue", "did you mean `kraken`?"]),
        ("[venue.okx]\nadress = \"\"", "a.toml:2: venue.okx.adress: ", &["did you mean `address`?"]),
        ("[venue.okx]\naddress = \"okx.com\"", "a.toml:2: venue.okx.address: ", &["no scheme", "wss://"]),
        ("[venue.okx]\ntaker_fee_pct = 101", "a.toml:2: venue.okx.taker_fee_pct: ", &["0 to 100"]),
        ("[venue.okx]\nca_file = \"none.pem\"", "a.toml:2: venue.okx.ca_file: ", &["`none.pem`", "cannot be read"]),
        ("[venue.okx]\nsame_asset = [\"btc\"]", "a.toml:2: venue.okx.same_asset: ", &["BASE/QUOTE"]),
        ("[venue.okx]\nother_asset = \"BTC/USDT\"", "a.toml:2: venue.okx.other_asset: ", &["list of texts"]),
        (
            "[venue.okx]\nsame_asset = [\"BTC/USDT\"]\nother_asset = [\"BTC/USDT\"]",
            "a.toml:3: venue.okx.other_asset: ",
            &["also in same_asset"],
        ),
        ("instruments = []", "a.toml:1: instruments: ", &["empty"]),
        ("instruments = [\"BTC-USDT\"]", "a.toml:1: instruments: ", &["BASE/QUOTE", "did you mean `BTC/USDT`?"]),
        ("instruments = [\"btc/usdt\"]", "a.toml:1: instruments: ", &["capitals", "did you mean `BTC/USDT`?"]),
        ("instruments = [\"BTCUSDT\"]", "a.toml:1: instruments: ", &["did you mean `BTC/USDT`?"]),
        ("instruments = [\"BTC/USDT\", \"BTC/USDT\"]", "a.toml:1: instruments: ", &["named twice"]),
        ("venues = [\"okx\"]\nquotes.price_order = [\"kraken\"]", "a.toml:2: quotes.price_order: ", &["configured"]),
        ("[feed]\nsilence_ping_ms = 6000", "a.toml:2: feed.silence_ping_ms: ", &["at most 4999"]),
        ("[feed]\nsilence_max_ms = 1000", "a.toml:2: feed.silence_max_ms: ", &["at least 2001"]),
        ("[gateway]\nthreads = 1\nthreads = 2", "a.toml:3: TOML: ", &["duplicate"]),
        ("[gateway\nthreads = 1", "a.toml:1: TOML: ", &["unclosed"]),
        ("[gateway\nbeat_ms = 5", "a.toml:1: TOML: ", &["unclosed"]),
    ];
    for (source, beginning, words) in cases {
        check_refused(source, beginning, words);
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_file() {
    let source = "venues = [\"okx\", \"krakn\"]\ninstruments = [\"BTC\"]\n[gateway]\nbeat_ms = 0\nlisten = 1\nthreads = 0\n\
                  pign_ms = 3\n[detector]\nthreshold_on = 1\ndebounce_ms = -1\n[venue.okx]\naddress = \"x\"\n[oops]\n";
    let lines = refused(source);
    let numbers: Vec<usize> = lines.iter().map(|line| line.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 4, 5, 6, 7, 9, 10, 12, 13], "{lines:#?}");
}

#[test]
fn both_ends_of_every_range_are_allowed_and_no_more() {
    let default = read("");
    let keys = Config::reference();
    let mut section = String::new();
    let mut tried = 0;
    for line in keys.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if let Some(path) = cells[1].strip_prefix("**`[").and_then(|rest| rest.strip_suffix("]`**")) {
            section = path.replace("NAME", "okx");
        }
        let Some(range) = cells[3].strip_prefix("a whole number from ") else { continue };
        let (least, most) = range.split_once(" to ").unwrap();
        let (least, most): (u64, u64) = (least.parse().unwrap(), most.parse().unwrap());
        let key = cells[1].trim_matches('`');
        // The partner of a pair is moved out of the way.
        let partner = match key {
            "silence_ping_ms" => "silence_max_ms = 600000\n",
            "silence_max_ms" => "silence_ping_ms = 100\n",
            "backoff_first_ms" => "backoff_max_ms = 3600000\n",
            "backoff_max_ms" => "backoff_first_ms = 10\n",
            _ => "",
        };
        let source = |value: i128| format!("[{section}]\n{partner}{key} = {value}\n");
        for value in [i128::from(least), i128::from(most)] {
            let result = build(&source(value), &[]);
            let unequal = key == "silence_ping_ms" && value == i128::from(most);
            assert_eq!(result.is_ok(), !unequal, "{key} = {value}: {result:?}");
        }
        for value in [i128::from(least) - 1, i128::from(most) + 1] {
            let lines = refused(&source(value));
            assert!(lines.len() == 1 && lines[0].contains("out of range"), "{key} = {value}: {lines:?}");
        }
        tried += 1;
    }
    assert!(tried >= 20, "{tried}");
    assert_eq!(default.gateway, read("").gateway);
}

#[test]
fn an_address_of_redis_is_held_to_its_form_and_its_password_is_shown_nowhere() {
    let source = |address: &str| format!("[cluster]\nredis = \"{address}\"\n");
    for address in ["127.0.0.1:6379", "http://:secret@host", "redis://:secret@host:x", "redis+sentinel://:secret@a"] {
        let lines = refused(&source(address));
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.contains("a.toml:2: cluster.redis: not an address of Redis"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }
    let config = read(&source("redis+sentinel://user:secret@a:1,b:2/name"));
    assert_eq!(config.cluster.redis, "redis+sentinel://user:secret@a:1,b:2/name");
    assert!(config.to_toml().contains("redis = \"redis+sentinel://user:***@a:1,b:2/name\""), "{}", config.to_toml());
    assert!(!config.to_toml().contains("secret"));
}

#[test]
fn an_instrument_that_a_venue_cannot_have_is_refused_in_the_venues_words() {
    check_refused(
        "venues = [\"okx\", \"coinbase\"]\ninstruments = [\"BTC/USDC\"]",
        "a.toml:2: instruments: coinbase cannot quote BTC/USDC: ",
        &["BTC/USD", "[venue.coinbase] instruments"],
    );
    let own =
        "venues = [\"okx\", \"coinbase\"]\ninstruments = [\"BTC/USDC\"]\n[venue.coinbase]\ninstruments = [\"BTC/USD\"]";
    assert_eq!(read(own).instruments, ["BTC/USDC", "BTC/USD"]);
}

#[test]
fn an_instrument_that_no_venue_quotes_is_refused() {
    check_refused(
        "venues = [\"okx\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]\n[venue.okx]\ninstruments = [\"BTC/USDT\"]",
        "a.toml:2: instruments: no venue quotes ETH/USDT",
        &[],
    );
}

#[test]
fn the_environment_goes_over_the_file() {
    let environment = [
        ("SPREADWIRE_GATEWAY_LISTEN", "localhost:8080"),
        ("SPREADWIRE_VENUES", "okx, kraken"),
        ("SPREADWIRE_VENUE_OKX_TAKER_FEE_PCT", "0.08"),
        ("SPREADWIRE_DETECTOR_THRESHOLD_ON", "net"),
        ("HOME", "/"),
    ];
    let config =
        build("venues = [\"binance\"]\n[gateway]\nlisten = \"127.0.0.1:1\"\nbeat_ms = 100", &environment).unwrap();
    assert_eq!(config.gateway.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.gateway.beat_ms, 100);
    assert_eq!(config.venues.iter().map(|venue| venue.name()).collect::<Vec<_>>(), ["okx", "kraken"]);
    assert_eq!(config.venues[0].taker_fee_pct.to_string(), "0.08");
    assert_eq!(config.detector.threshold_on, ThresholdOn::Net);
    let listing = config.to_toml();
    assert!(listing.contains("# environment, SPREADWIRE_GATEWAY_LISTEN"), "{listing}");
    assert!(listing.contains("# file, line 4"), "{listing}");
}

#[test]
fn the_state_directory_is_beside_the_file_and_a_cluster_without_one_is_warned_about() {
    assert_eq!(read("").state_dir, None);
    let config = Config::build("a.toml", "state_dir = \"state\"", Path::new("/etc/spreadwire"), &[], VENUES).unwrap();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/etc/spreadwire/state")));
    assert!(config.to_toml().contains("state_dir = \"/etc/spreadwire/state\""), "{}", config.to_toml());
    let config = build("", &[("SPREADWIRE_STATE_DIR", "/var/lib/spreadwire")]).unwrap();
    assert_eq!(config.state_dir.as_deref(), Some(Path::new("/var/lib/spreadwire")));
    let cluster = "[cluster]\nredis = \"redis://127.0.0.1:6379\"";
    assert!(read(cluster).warnings()[0].starts_with("state_dir: is empty"));
    assert!(read(&format!("state_dir = \"/tmp\"\n{cluster}")).warnings().is_empty());
}

#[test]
fn mistakes_of_the_environment_name_the_variable() {
    let cases = [
        ("SPREADWIRE_GATEWAY_LISTN", "x", "unknown variable; did you mean `SPREADWIRE_GATEWAY_LISTEN`?"),
        ("SPREADWIRE_GATEWAY_BEAT_MS", "5", "gateway.beat_ms: `5` is out of range"),
        ("SPREADWIRE_DETECTOR_THRESHOLD_PCT", "", "detector.threshold_pct: `` is not a decimal number"),
        ("SPREADWIRE_VENUES", "okx,krakn", "venues: unknown venue `krakn`"),
        ("SPREADWIRE_INSTRUMENTS", "btc/usdt", "instruments: `btc/usdt` is not a symbol"),
    ];
    for (name, value, words) in cases {
        let said = build("instruments = [\"BTC/USDT\"]", &[(name, value)]).unwrap_err();
        assert!(said.starts_with(&format!("environment: {name}: ")) && said.contains(words), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn an_unknown_key_lists_each_known_one_once() {
    let lines = refused("foo = 1");
    let (_, known) = lines[0].split_once("expected one of ").unwrap();
    let mut known: Vec<&str> = known.split(", ").collect();
    let count = known.len();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known.len(), count, "{}", lines[0]);
}

#[test]
fn a_clusters_times_must_leave_room_for_a_renewal_that_fails() {
    let with = |line: &str| format!("[cluster]\nredis = \"redis://127.0.0.1:6379\"\n{line}\n");
    check_refused(&with("renew_ms = 2500"), "a.toml:3: cluster.renew_ms: 2500 is too large", &["2499"]);
    check_refused(&with("call_ms = 1700"), "a.toml:3: cluster.call_ms: 1700 is too large", &["1666"]);
    check_refused(&with("prefix = \"\""), "a.toml:3: cluster.prefix: is empty", &[]);
    check_refused(&with("instance = \"a b\""), "a.toml:3: cluster.instance: `a b` contains", &[]);
    assert!(build(&with("renew_ms = 2499\ninstance = \"gw-1.eu\""), &[]).is_ok());
    assert!(build("[cluster]\nrenew_ms = 30000\n", &[]).is_ok(), "nothing of it runs");
}

#[test]
fn variables_that_clusters_set_are_only_warned_about() {
    let config = build("", &[("SPREADWIRE_SERVICE_HOST", "10.0.0.1"), ("SPREADWIRE_PORT_3000_TCP", "x")]).unwrap();
    assert_eq!(config.warnings().len(), 2, "{:?}", config.warnings());
}

#[test]
fn an_address_that_others_can_reach_is_warned_about() {
    for (address, count) in [("0.0.0.0:3000", 1), ("[::]:3000", 1), ("127.0.0.2:3000", 0), ("[::1]:3000", 0)] {
        let config = read(&format!("[gateway]\nlisten = \"{address}\""));
        assert_eq!(config.warnings().len(), count, "{address}: {:?}", config.warnings());
    }
}

#[test]
fn tables_that_do_nothing_are_warned_about() {
    let warnings =
        read("venues = [\"okx\"]\n[venue.kraken]\ntaker_fee_pct = 1\n[threads]\nfeeds = 9").warnings().join("\n");
    for words in ["venue.kraken: has no effect", "only one venue", "threads.feeds: 9"] {
        assert!(warnings.contains(words), "{warnings}");
    }
}

#[test]
fn the_operator_states_which_asset_a_venue_quotes() {
    let source = "venues = [\"okx\", \"kraken\"]\ninstruments = [\"BTC/USDT\", \"ETH/USDT\"]\n\
                  [venue.okx]\nsame_asset = [\"BTC/USDT\"]\n[venue.kraken]\nother_asset = [\"ETH/USDT\", \"XYZ/USDT\"]";
    let config = read(source);
    let directory = config.directory();
    let claim = |symbol: &str, venue: &str| {
        directory.claim(directory.instrument_named(symbol).unwrap(), directory.venue_named(venue).unwrap())
    };
    assert_eq!(claim("BTC/USDT", "okx"), Some(AssetClaim::Same));
    assert_eq!(claim("ETH/USDT", "kraken"), Some(AssetClaim::Other));
    assert_eq!((claim("ETH/USDT", "okx"), claim("BTC/USDT", "kraken")), (None, None));
    let warnings = config.warnings().join("\n");
    assert!(warnings.contains("venue.kraken.other_asset: XYZ/USDT is not quoted there"), "{warnings}");
    let again = read(config.to_toml());
    assert_eq!(again.venues, config.venues);
    let changed = read(&source.replace("same_asset", "other_asset"));
    assert_eq!(changed.differing_keys(&config), ["venue.okx.same_asset", "venue.okx.other_asset"]);
}

#[test]
fn the_listing_read_again_is_the_same_configuration() {
    let source = "venues = [\"okx\", \"kraken\"]\ninstruments = [\"BTC/USDT\"]\n[venue.kraken]\ninstruments = [\"BTC/USD\"]\n\
                  taker_fee_pct = 0.35\n[detector]\nthreshold_pct = 0.25\nthreshold_on = \"net\"\n[quotes]\nprice_order = [\"kraken\"]";
    for first in [read(source), read("")] {
        let second = read(first.to_toml());
        assert_eq!(first.venues, second.venues);
        assert_eq!(first.instruments, second.instruments);
        assert_eq!(first.price_order, second.price_order);
        assert_eq!(first.gateway, second.gateway);
        assert_eq!(first.quotes, second.quotes);
        assert_eq!(first.detector, second.detector);
        assert_eq!(first.threads, second.threads);
        assert_eq!(first.feed, second.feed);
    }
}

#[test]
fn outside_text_cannot_break_the_line_of_an_error() {
    let lines = refused("[gateway]\n\"a\\nb\\u001b[31m\" = 1\nthreads = \"\\u0007\\n\"\n");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| !line.chars().any(char::is_control)), "{lines:#?}");
    let long = format!("venues = [\"{}\"]", "x".repeat(100_000));
    assert!(refused(&long)[0].len() < 400);
}

#[test]
fn any_text_is_read_or_refused_without_a_panic() {
    let good = "venues = [\"okx\"]\n[gateway]\nlisten = \"127.0.0.1:1\"\n[venue.okx]\ntaker_fee_pct = 0.1 # é\n";
    for end in (0..=good.len()).filter(|&end| good.is_char_boundary(end)) {
        let _ = build(&good[..end], &[]);
        let _ = build(&good[end..], &[]);
        for noise in ["\"", "[", "]", "=", "\u{0}", "\n", "'''", "{", "9e999", "[[a]]"] {
            let _ = build(&format!("{}{noise}{}", &good[..end], &good[end..]), &[]);
        }
    }
    let _ = build(&"[".repeat(100_000), &[]);
    let _ = build(&format!("a = {}", "[".repeat(100_000)), &[]);
    let _ = build(&format!("a{} = 1", ".a".repeat(100_000)), &[]);
}

#[test]
fn the_examples_are_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    for name in ["live.toml", "simulated.toml"] {
        let source = std::fs::read_to_string(folder.join(name)).unwrap();
        let config = read(&source);
        assert!(config.warnings().is_empty(), "{name}: {:?}", config.warnings());
    }
    let simulated = read(&std::fs::read_to_string(folder.join("simulated.toml")).unwrap());
    for venue in &simulated.venues {
        let listen = "127.0.0.1:9000".parse().unwrap();
        assert_eq!(venue.address, spreadwire::sim::address_of(venue.venue, listen), "{}", venue.name());
        let rest = spreadwire::sim::rest_address_of(venue.venue, listen);
        assert!(venue.rest_address.is_empty() || venue.rest_address == rest, "{}", venue.rest_address);
    }
}

#[test]
fn the_documentation_names_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- keys: written by the tests with UPDATE_GOLDEN=1 -->\n", "<!-- end of keys -->");
    let (head, rest) = text.split_once(begin).unwrap();
    let (keys, tail) = rest.split_once(end).unwrap();
    let wanted = format!("\n{}\n", Config::reference());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, format!("{head}{begin}{wanted}{end}{tail}")).unwrap();
    } else {
        assert_eq!(keys, wanted, "run the tests with UPDATE_GOLDEN=1");
    }
}

/// Order books of some venues begin with a page from their REST address.
#[test]
fn the_two_files_for_the_simulator_name_the_same_addresses() {
    let addresses = |name: &str| {
        let path = format!("{}/config/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().skip_while(|line| !line.starts_with("[venue."));
        lines.map(|line| line.split(" #").next().unwrap().trim().to_owned()).collect::<Vec<_>>()
    };
    let simulated = addresses("simulated");
    assert!(simulated.iter().any(|line| line.starts_with("rest_address")));
    assert_eq!(addresses("cluster"), simulated);
}
