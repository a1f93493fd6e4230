//! Single frames and what they mean: `frames.txt` of each venue.
//!
//! A case is a block of lines, ended by an empty one. `#` says what it shows and where the frame is from.
//! `!` configures symbols, otherwise every symbol is read. `@ ADDRESS` makes the next frame a REST reply.
//! `>` is a frame as sent, `x` one in hex, for what is no text; the lines below it, each with `=`, are what the codec makes of it.

use std::fmt::Write as _;
use std::fs;

use spreadwire::market::{InstrumentId, Level};
use spreadwire::time::{MonoNs, UnixNs};
use spreadwire::venues::{Decoded, FeedCodec, Frame, Notice, SymbolEntry, Symbols, Update, VENUES, Venue};

use super::fixtures;

/// One step of a case.
struct Step {
    url: Option<String>,
    frame: String,
    is_hex: bool,
    expected: Vec<String>,
}

/// A block of `frames.txt`.
struct Case {
    head: Vec<String>,
    symbols: Vec<String>,
    steps: Vec<Step>,
}

fn read_cases(text: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for block in text.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let mut case = Case { head: Vec::new(), symbols: Vec::new(), steps: Vec::new() };
        let mut url = None;
        for line in block.lines().filter(|line| !line.is_empty()) {
            let rest = line.get(2..).unwrap_or_default().to_owned();
            match line.as_bytes()[0] {
                b'#' => case.head.push(line.to_owned()),
                b'!' => case.symbols = rest.split(' ').map(str::to_owned).collect(),
                b'@' => url = Some(rest),
                mark @ (b'>' | b'x') => {
                    let is_hex = mark == b'x';
                    case.steps.push(Step { url: url.take(), frame: rest, is_hex, expected: Vec::new() });
                }
                b'=' => case.steps.last_mut().expect("a frame above").expected.push(rest),
                _ => panic!("not a line of a case: {line}"),
            }
        }
        cases.push(case);
    }
    cases
}

/// The bytes of a frame that is written in hex.
pub fn bytes_of(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn codec(venue: &dyn Venue, symbols: &[String]) -> Box<dyn FeedCodec> {
    if symbols.is_empty() {
        return venue.codec(Symbols::discovering(venue.symbol_of()));
    }
    let entries = symbols.iter().enumerate().map(|(at, symbol)| {
        let (base, quote) = symbol.split_once('/').expect("BASE/QUOTE");
        let native = venue.native(base, quote).unwrap();
        SymbolEntry { id: InstrumentId(at as u32), native, symbol: symbol.clone() }
    });
    venue.codec(Symbols::configured(entries.collect()))
}

/// What the codec makes of each frame of a case, in words; `change` may rewrite the frames first.
fn run(venue: &dyn Venue, case: &Case, change: impl Fn(&str) -> String) -> Vec<Vec<String>> {
    let mut codec = codec(venue, &case.symbols);
    let mut out = Decoded::default();
    codec.opened(&mut out.requests);
    let mut said = Vec::new();
    for step in &case.steps {
        out.clear();
        let frame = if step.is_hex { bytes_of(&step.frame) } else { change(&step.frame).into_bytes() };
        let result = match &step.url {
            Some(url) => codec.snapshot(url, &frame, &mut out),
            None => codec.decode(&frame, MonoNs(0), &mut out),
        };
        let mut lines: Vec<String> = out.updates.iter().map(|update| words(codec.symbols(), update)).collect();
        lines.extend(out.answers.iter().map(|answer| format!("answer {answer}")));
        lines.extend(out.requests.iter().map(|request| format!("request {request}")));
        match result {
            Ok(Frame::Data) if lines.is_empty() => lines.push("data, nothing new".to_owned()),
            Ok(Frame::Data) => {}
            Ok(Frame::Control) => lines.push("control".to_owned()),
            Ok(Frame::Unused) => lines.push("unused".to_owned()),
            Err(why) => lines.push(format!("error: {why}")),
        }
        said.push(lines);
    }
    said
}

fn words(symbols: &Symbols, update: &Update) -> String {
    let name = |id: &InstrumentId| symbols.entry(*id).map_or("?", |entry| entry.symbol.as_str()).to_owned();
    let time = |at: UnixNs| match at.0 {
        0 => String::new(),
        ns if ns % 1_000_000 == 0 => format!(" at {} ms", ns / 1_000_000),
        ns => format!(" at {ns} ns"),
    };
    match update {
        Update::Top(top) => {
            let side = |level: Level| match level.is_present() {
                true => format!("{} x {}", level.price, level.size),
                false => "none".to_owned(),
            };
            let mut text = format!("{} {}: {} | {}", top.channel, name(&top.instrument), side(top.bid), side(top.ask));
            if top.sequence != 0 {
                let _ = write!(text, " #{}", top.sequence);
            }
            text + &time(top.exchange_time)
        }
        Update::Book(note) => format!("book {}", name(&note.instrument)),
        Update::Statistics(day) => format!(
            "day {}: last {} high {} low {} change {:.8} ({:.3} %) volume {}{}",
            name(&day.instrument),
            day.last,
            day.high,
            day.low,
            day.change,
            day.change_pct,
            day.quote_volume,
            time(day.exchange_time)
        ),
        Update::Stamp(id, at) => format!("stamp {}{}", name(id), time(*at)),
        Update::Void(id, why) => format!("void {}: {why:?}", name(id)),
        Update::Trading(id, is_traded) => format!("{} {}", if *is_traded { "trading" } else { "halted" }, name(id)),
        Update::System(is_trading) => format!("all {}", if *is_trading { "trading" } else { "halted" }),
        Update::Subscribed(id) => format!("subscribed {}", name(id)),
        Update::Refused(why) => format!("refused: {why}"),
        Update::Reconnect(why) => format!("reconnect: {why}"),
        Update::Notice(Notice::Leaving(why)) => format!("leaving: {why}"),
        Update::Notice(notice) => format!("notice: {notice}"),
    }
}

/// Runs one case written in the test itself, and holds it against its `=` lines.
pub fn check(venue: &str, case: &str) {
    let venue = spreadwire::venues::venue(venue).unwrap();
    for case in read_cases(case) {
        for (step, said) in case.steps.iter().zip(run(venue, &case, str::to_owned)) {
            assert_eq!(said, step.expected, "{}", step.frame);
        }
    }
}

#[test]
fn every_single_frame_means_what_its_fixture_says() {
    for &venue in VENUES {
        let path = fixtures(venue.facts().name).join("frames.txt");
        let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        let cases = read_cases(&text);
        assert!(cases.len() >= 10, "{}: too few cases", path.display());
        let mut golden = String::new();
        for case in &cases {
            let said = run(venue, case, str::to_owned);
            for line in &case.head {
                let _ = writeln!(golden, "{line}");
            }
            if !case.symbols.is_empty() {
                let _ = writeln!(golden, "! {}", case.symbols.join(" "));
            }
            for (step, lines) in case.steps.iter().zip(&said) {
                if let Some(url) = &step.url {
                    let _ = writeln!(golden, "@ {url}");
                }
                let _ = writeln!(golden, "{} {}", if step.is_hex { 'x' } else { '>' }, step.frame);
                for line in lines {
                    let _ = writeln!(golden, "= {line}");
                }
                if std::env::var_os("UPDATE_GOLDEN").is_none() {
                    assert_eq!(lines, &step.expected, "{}: {}\n{}", path.display(), case.head.join("\n"), step.frame);
                }
            }
            golden.push('\n');
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, golden.trim_end().to_owned() + "\n").unwrap();
        }
    }
}

#[test]
fn blanks_between_the_parts_of_a_frame_change_nothing() {
    check_rewritten(spaced);
}

#[test]
fn the_order_of_fields_changes_nothing() {
    check_rewritten(reversed);
}

/// Errors are compared as errors only: which field is named first may differ.
fn check_rewritten(change: fn(&str) -> String) {
    for &venue in VENUES {
        let text = fs::read_to_string(fixtures(venue.facts().name).join("frames.txt")).unwrap();
        for case in read_cases(&text) {
            let plain = |said: Vec<Vec<String>>| -> Vec<Vec<String>> {
                let word = |line: String| if line.starts_with("error") { "error".to_owned() } else { line };
                said.into_iter().map(|lines| lines.into_iter().map(word).collect()).collect()
            };
            let as_sent = plain(run(venue, &case, str::to_owned));
            let rewritten = plain(run(venue, &case, |frame| match serde_json::from_str::<serde_json::Value>(frame) {
                Ok(_) => change(frame),
                Err(_) => frame.to_owned(),
            }));
            assert_eq!(as_sent, rewritten, "{}: {}", venue.facts().name, case.head.join("\n"));
        }
    }
}

/// The same JSON with blanks wherever they may stand.
fn spaced(text: &str) -> String {
    let mut out = String::new();
    let (mut is_string, mut is_escaped) = (false, false);
    for c in text.chars() {
        out.push(c);
        if is_escaped {
            is_escaped = false;
        } else if is_string && c == '\\' {
            is_escaped = true;
        } else if c == '"' {
            is_string = !is_string;
        } else if !is_string && "{}[],:".contains(c) {
            out.push_str(" \n");
        }
    }
    out
}

/// The same JSON with the members of every object in reverse; numbers keep their text.
fn reversed(text: &str) -> String {
    let text = text.trim();
    let Some(open) = text.chars().next().filter(|c| "{[".contains(*c)) else { return text.to_owned() };
    let mut parts = parts_of(&text[1..text.len() - 1]);
    if open == '[' {
        let parts: Vec<String> = parts.iter().map(|part| reversed(part)).collect();
        return format!("[{}]", parts.join(","));
    }
    parts.reverse();
    let member = |part: &&str| {
        let key_ends = 1 + part.trim_start()[1..].find('"').expect("a key") + 1;
        let (key, value) = part.trim_start().split_at(key_ends);
        format!("{key}:{}", reversed(value.trim_start().trim_start_matches(':')))
    };
    format!("{{{}}}", parts.iter().map(member).collect::<Vec<_>>().join(","))
}

/// The parts of the inside of an object or array, split at its own commas.
fn parts_of(inside: &str) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    let (mut is_string, mut is_escaped) = (false, false);
    for (at, c) in inside.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_string => is_escaped = true,
            '"' => is_string = !is_string,
            '{' | '[' if !is_string => depth += 1,
            '}' | ']' if !is_string => depth -= 1,
            ',' if !is_string && depth == 0 => {
                parts.push(&inside[from..at]);
                from = at + 1;
            }
            _ => {}
        }
    }
    if !inside[from..].trim().is_empty() {
        parts.push(&inside[from..]);
    }
    parts
}

#[test]
fn the_rewriting_of_these_tests_keeps_the_meaning() {
    let text = r#"{"a":[1.50,{"b":"x,\"}","c":[]}],"d":{},"e":-1}"#;
    assert_eq!(reversed(text), r#"{"e":-1,"d":{},"a":[1.50,{"c":[],"b":"x,\"}"}]}"#);
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&spaced(text)), parse(text));
}
