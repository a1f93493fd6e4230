//! The pages of the repository against the source tree: links, headings, paths, and the glossary.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use spreadwire::cli::Cli;
use spreadwire::market::opportunity::CloseReason;
use spreadwire::metrics::reasons::{AlertRefusal, Reason};
use spreadwire::sim::scenario::Scenario;
use spreadwire::venues::VENUES;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page: its path below the root, and its lines outside code blocks.
struct Page {
    path: PathBuf,
    lines: Vec<String>,
}

fn page(path: &Path) -> Page {
    let text = std::fs::read_to_string(root().join(path)).unwrap();
    let mut is_code = false;
    let is_prose = |line: &&str| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    };
    Page { path: path.to_owned(), lines: text.lines().filter(is_prose).map(str::to_owned).collect() }
}

fn pages() -> Vec<Page> {
    let of = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap();
        let names = entries.map(|entry| Path::new(folder).join(entry.unwrap().file_name()));
        names.filter(|path| path.extension().is_some_and(|e| e == "md")).collect::<Vec<_>>()
    };
    let folders = ["", "docs", "docs/phantoms"];
    let found: Vec<Page> = folders.iter().flat_map(|folder| of(folder)).map(|path| page(&path)).collect();
    assert!(found.len() >= 12, "{} pages", found.len());
    found
}

impl Page {
    /// The anchors of its headings, as GitHub derives them.
    fn anchors(&self) -> BTreeSet<String> {
        let headings = self.lines.iter().filter(|line| line.starts_with('#'));
        let anchor = |line: &String| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }

    /// Its prose as one line, since a link or a code span may continue on the next line.
    fn prose(&self) -> String {
        self.lines.join(" ")
    }

    /// What follows `](` up to `)`, except addresses of other hosts.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
        targets.filter(|target| !target.contains("://")).collect()
    }

    /// The texts between back quotes.
    fn code(&self) -> Vec<String> {
        self.lines.iter().flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned)).collect()
    }
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let pages = pages();
    let mut wrong = Vec::new();
    for from in &pages {
        let folder = from.path.parent().unwrap();
        for link in from.links() {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { root().join(&from.path) } else { root().join(folder).join(file) };
            let Ok(target) = target.canonicalize() else {
                wrong.push(format!("{}: {link}", from.path.display()));
                continue;
            };
            let is_there = |to: &Page| {
                root().join(&to.path).canonicalize().is_ok_and(|path| path == target) && to.anchors().contains(anchor)
            };
            if !anchor.is_empty() && !pages.iter().any(is_there) {
                wrong.push(format!("{}: {link}: no such heading", from.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_path_that_a_page_names_exists() {
    const TOPS: [&str; 9] =
        ["benches/", "config/", "examples/", "fuzz/", "perf/", "scripts/", "src/", "tests/", "web/src/"];
    let is_path = |text: &&String| {
        TOPS.iter().any(|top| text.starts_with(top)) && !text.contains(['<', ' ', '*']) && !text.contains("TARGET")
    };
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        for path in page.code().iter().filter(is_path) {
            count += 1;
            if !root().join(path).exists() {
                wrong.push(format!("{}: {path}", page.path.display()));
            }
        }
    }
    assert!(count >= 40, "only {count} paths were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether `name`, such as `stage::Stage`, is a module of the library, or an item that its module declares or exports.
fn is_in_the_library(name: &str) -> bool {
    let words: Vec<&str> = name.split("::").collect();
    let is_module = |words: &[&str]| module_file(words).is_some();
    if is_module(&words) {
        return true;
    }
    let Some((item, module)) = words.split_last() else { return false };
    let Some(file) = module_file(module) else { return false };
    let text = std::fs::read_to_string(file).unwrap();
    let is_declared = |line: &str| {
        let Some(rest) = line.trim_start().strip_prefix("pub") else { return false };
        let rest = if rest.starts_with('(') { rest.split_once(')').map_or("", |(_, rest)| rest) } else { rest };
        let is_kind = ["struct ", "enum ", "trait ", "use "].iter().any(|kind| rest.trim_start().starts_with(kind));
        is_kind && rest.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *item)
    };
    text.lines().any(is_declared)
}

fn module_file(words: &[&str]) -> Option<PathBuf> {
    let path = root().join("src").join(words.join("/"));
    [path.with_extension("rs"), path.join("mod.rs")].into_iter().find(|file| !words.is_empty() && file.exists())
}

#[test]
fn the_glossary_has_each_term_once_in_alphabetical_order_and_names_code_that_exists() {
    let glossary = page(Path::new("docs/glossary.md"));
    let rows: Vec<Vec<&str>> = glossary
        .lines
        .iter()
        .filter(|line| line.starts_with("| **"))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    assert!(rows.len() >= 80, "{} terms", rows.len());
    let terms: Vec<String> = rows.iter().map(|row| row[0].replace("**", "").to_lowercase()).collect();
    let out_of_order: Vec<_> = terms.windows(2).filter(|two| two[0] >= two[1]).collect();
    assert!(out_of_order.is_empty(), "{out_of_order:?}");
    let of_code = rows.iter().filter_map(|row| Some((row[0], row[2].strip_prefix('`')?.strip_suffix('`')?)));
    let unknown = |(_, name): &(&str, &str)| !name.contains('/') && !name.contains('`') && !is_in_the_library(name);
    let wrong: Vec<_> = of_code.filter(unknown).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The names of the files in `docs/phantoms` that end with `ending`, without it.
fn phantoms(ending: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join("docs/phantoms")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(ending).map(str::to_owned)).collect()
}

#[test]
fn each_scenario_of_a_phantom_can_be_read_and_has_a_page_whose_commands_exist() {
    let routes = std::fs::read_to_string(root().join("src/gateway/http/routes.rs")).unwrap();
    let names = phantoms(".toml");
    assert!(names.len() >= 7, "{names:?}");
    for name in names {
        let file = format!("docs/phantoms/{name}.toml");
        let script = Scenario::read(&std::fs::read_to_string(root().join(&file)).unwrap(), VENUES).unwrap();
        assert!(!script.faults.is_empty(), "{file}");
        let page = std::fs::read_to_string(root().join(format!("docs/phantoms/{name}.md"))).unwrap();
        let (_, commands) = page.split_once("```sh\n").unwrap();
        let commands: Vec<&str> = commands.split("```").next().unwrap().lines().collect();
        let [start, show] = commands[..] else { panic!("{name}: {commands:?}") };
        assert!(Cli::try_parse_from(start.split(' ')).is_ok() && start.contains(&file), "{start}");
        let asked = show.strip_prefix("curl -s 'http://127.0.0.1:3000").unwrap();
        let path = asked.split(['?', '\'']).next().unwrap();
        assert!(routes.contains(&format!("\"{path}\"")), "{show}: no such page");
        let reason =
            asked.split_once("reason=").map(|(_, rest)| rest.trim_matches(|c: char| c != '_' && !c.is_lowercase()));
        assert!(reason.is_none_or(|reason| AlertRefusal::ALL.iter().any(|it| it.word() == reason)), "{show}");
    }
}

#[test]
fn every_reason_that_a_page_of_a_phantom_names_exists() {
    let is_reason =
        |word: &str| AlertRefusal::ALL.iter().any(|it| it.word() == word) || word == CloseReason::NotTrading.word();
    let mut count = 0;
    for name in phantoms(".md") {
        let page = page(&Path::new("docs/phantoms").join(format!("{name}.md")));
        for word in
            page.code().iter().filter(|word| word.contains('_') && word.chars().all(|c| c == '_' || c.is_lowercase()))
        {
            assert!(is_reason(word), "{name}: {word}");
            count += 1;
        }
    }
    assert!(count >= 10, "only {count} reasons were found");
}
