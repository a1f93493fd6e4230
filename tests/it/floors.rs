//! The tree's floors: a module imports from floors below only, stages never import each other, and what
//! belongs in one place is found in no other. Read from the source text, so that a wrong line is named.

use std::path::{Path, PathBuf};

/// From the ground up. A module imports from rows before its own, and from itself; those of one row never
/// know each other.
const FLOORS: &[&[&str]] = &[
    &["log", "os", "time"],
    &["metrics"],
    &["stage"],
    &["market"],
    &["wire"],
    &["protocol", "venues"],
    &["matrix", "net"],
    // The stages. A replay turns the feed's own connection, so `record` stands a step above.
    &["cluster", "detector", "discovery", "feed", "gateway", "last_known", "sim"],
    &["record"],
    &["config"],
    &["reload"],
    &["cli"],
    &["tables", "top", "wiring"],
];

/// A text, and the only places where it may stand.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("clock_gettime", &["src/time.rs"]),
    ("Instant::now", &[]),
    ("SystemTime", &[]),
    ("thread::Builder", &["src/stage.rs"]),
    ("thread::spawn(", &[]),
    ("thread::scope(", &[]),
    ("TcpStream::connect", &["src/net", "src/cluster/address.rs"]),
    ("TcpListener", &["src/net"]),
    ("UdpSocket", &[]),
    ("UnixStream", &[]),
    ("socket2::", &["src/net"]),
    ("unbounded", &[]),
    ("mpsc::channel(", &[]),
    ("env::var", &["src/config"]),
    ("unsafe ", &["src/os.rs"]),
    ("simd_json", &["src/wire/json.rs"]),
    ("tungstenite::", &["src/wire", "src/net/dial.rs", "src/sim/connection.rs"]),
    ("redis::", &["src/cluster"]),
    ("todo!", &[]),
    ("unimplemented!", &[]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            sources(&entry, found);
        } else if entry.extension().is_some_and(|e| e == "rs") {
            found.push(entry);
        }
    }
}

/// Path from the root, and the text before its tests.
fn all() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&root.join("src"), &mut found);
    let name = |path: &Path| path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    found
        .iter()
        .map(|path| (name(path), std::fs::read_to_string(path).unwrap()))
        .filter(|(path, _)| !path.contains("tests") && !path.ends_with("oracle.rs"))
        .map(|(path, text)| {
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
            (path, lines.join("\n"))
        })
        .collect()
}

fn module_of(path: &str) -> &str {
    path.trim_start_matches("src/").split(['/', '.']).next().unwrap()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Modules of this crate that `code` names.
fn imports(code: &str) -> Vec<&str> {
    code.match_indices("crate::")
        .map(|(at, _)| code[at + 7..].split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap())
        .collect()
}

#[test]
fn modules_import_from_below_and_stages_not_from_each_other() {
    let mut wrong = Vec::new();
    for (path, code) in all() {
        let module = module_of(&path);
        if matches!(module, "lib" | "main") {
            continue;
        }
        let own = floor(module).unwrap_or_else(|| panic!("{path}: `{module}` has no floor"));
        for import in imports(&code) {
            let Some(theirs) = floor(import) else { continue };
            if theirs >= own && import != module {
                wrong.push(format!("{path} imports {import}"));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "imports that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn what_belongs_in_one_place_is_in_no_other() {
    let mut wrong = Vec::new();
    for (path, code) in all() {
        for (text, places) in ONLY_IN {
            if code.contains(text) && !places.iter().any(|place| path.starts_with(place)) {
                wrong.push(format!("{path} has `{text}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "out of place:\n{}", wrong.join("\n"));
}
