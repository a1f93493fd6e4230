//! The tree's floors: a module imports from floors below only, stages never import each other, and what
//! belongs in one place is found in no other. Read from the source text, so that a wrong line is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// From the ground up. A module imports from rows before its own, and from itself; those of one row never
/// know each other.
const FLOORS: &[&[&str]] = &[
    &["log", "os", "random", "settings", "time"],
    &["metrics"],
    &["stage"],
    &["market"],
    &["wire"],
    &["protocol", "venues"],
    &["handover", "matrix", "net"],
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
            let code = text.split("\nmod tests {").next().unwrap_or_default();
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

/// Circles between files that are known; this list only shrinks.
const CIRCLES: &[&[&str]] = &[];

/// The files of the library by module path (`market/book`), and their code. A folder's `mod.rs` is the folder's.
fn modules() -> BTreeMap<String, String> {
    let name = |path: &str| path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").to_owned();
    all().into_iter().filter(|(path, _)| !path.ends_with("main.rs")).map(|(path, code)| (name(&path), code)).collect()
}

/// All paths of the `use` declarations in `code` and of the paths that begin with `crate`, `super` or `self`, as segments.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for declaration in code.split("use ").skip(1).filter_map(|rest| rest.split_once(';')).map(|(text, _)| text) {
        let text: String = declaration.chars().filter(|c| !c.is_whitespace()).collect();
        expand("", &text, &mut found);
    }
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let end = code[at..].find(|c: char| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
            found.push(code[at..][..end.unwrap_or(code.len() - at)].to_owned());
        }
    }
    found.iter().map(|path| path.split("::").map(str::to_owned).collect()).collect()
}

/// Each path of a tree such as `a::{b, c::{self, d}}`.
fn expand(prefix: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        return found.push(format!("{prefix}{tree}"));
    };
    let (mut depth, mut item) = (0, String::new());
    for c in rest.chars() {
        depth += match c {
            '{' => 1,
            '}' => -1,
            _ => 0,
        };
        if depth < 0 || (depth == 0 && c == ',') {
            expand(&format!("{prefix}{head}"), &item, found);
            item.clear();
        } else {
            item.push(c);
        }
    }
}

/// The module that `path`, written in `from`, is about: the longest prefix of it that is a file.
fn target(from: &str, is_folder: bool, path: &[String], modules: &BTreeMap<String, String>) -> Option<String> {
    let mut base: Vec<&str> = from.split('/').collect();
    let mut rest = path;
    match rest.first()?.as_str() {
        "crate" => {
            base.clear();
            rest = &rest[1..];
        }
        "self" => rest = &rest[1..],
        "super" => {}
        _ if is_folder => {}
        _ => return None,
    }
    while rest.first().is_some_and(|segment| segment == "super") {
        base.pop();
        rest = &rest[1..];
    }
    (0..=rest.len()).rev().find_map(|length| {
        let name: Vec<&str> = base.iter().copied().chain(rest[..length].iter().map(String::as_str)).collect();
        let name = name.join("/");
        let code = modules.get(&name)?;
        // What a folder passes on belongs to the file that declares it.
        let passed_on = rest.get(length).and_then(|item| {
            let public = code.split("pub use ").skip(1).filter_map(|text| text.split_once(';'));
            let mut all = Vec::new();
            public.for_each(|(text, _)| expand("", &text.split_whitespace().collect::<String>(), &mut all));
            let path = all.iter().find(|path| path.rsplit("::").next() == Some(item))?;
            Some(format!("{name}/{}", path.trim_start_matches("self::").split("::").next()?))
        });
        Some(passed_on.filter(|it| modules.contains_key(it)).unwrap_or(name))
    })
}

/// Files that use each other, directly or not. A folder's `mod.rs` is left out: it holds what its files share.
#[test]
fn files_of_a_folder_do_not_use_each_other_in_circles() {
    let modules = modules();
    let is_folder = |name: &str| modules.keys().any(|other| other.starts_with(&format!("{name}/")));
    let mut uses: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (name, code) in modules.iter().filter(|(name, _)| !is_folder(name)) {
        let targets = paths(code).into_iter().filter_map(|path| target(name, false, &path, &modules));
        uses.insert(name, targets.filter(|it| it != name && !is_folder(it)).collect());
    }
    let reach = |from: &str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(name) = next.pop() {
            for used in uses.get(name.as_str()).into_iter().flatten() {
                if seen.insert(used.clone()) {
                    next.push(used.clone());
                }
            }
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = uses.keys().map(|name| (*name, reach(name))).collect();
    let mut circles = BTreeSet::new();
    for (name, others) in &reached {
        let circle: Vec<&str> =
            reached.keys().copied().filter(|other| others.contains(*other) && reached[other].contains(*name)).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    let known: BTreeSet<Vec<&str>> = CIRCLES.iter().map(|circle| circle.to_vec()).collect();
    let new: Vec<_> = circles.difference(&known).collect();
    assert!(new.is_empty(), "files that use each other: {new:#?}");
    let gone: Vec<_> = known.difference(&circles).collect();
    assert!(gone.is_empty(), "these circles are no longer there; remove them from the list: {gone:#?}");
}

#[test]
fn paths_of_use_declarations_are_found() {
    let code = "use crate::a::{b, c::{self, D}};\npub use x::Y;\nfn f() -> super::Z { crate::q::r() }";
    let found: Vec<String> = paths(code).iter().map(|path| path.join("::")).collect();
    assert_eq!(
        found,
        ["crate::a::b", "crate::a::c::self", "crate::a::c::D", "x::Y", "crate::a::", "crate::q::r", "super::Z"]
    );
}

/// A reader who meets a type name anywhere in the library knows which type it is.
#[test]
fn a_type_name_means_one_thing() {
    let mut declared: BTreeMap<String, usize> = BTreeMap::new();
    for (_, code) in all() {
        // Sections of the configuration and their choices are declared by macros, with the name on the next line.
        let of_macros = ["\nsection! {\n", "\nchoice! {\n"].map(|start| code.split(start).skip(1));
        for body in of_macros.into_iter().flatten() {
            let name = body.lines().map(str::trim).find(|line| !line.starts_with("#[")).unwrap();
            *declared.entry(name.trim_end_matches(" {").to_owned()).or_default() += 1;
        }
        for line in code.lines() {
            let line = line.strip_prefix("pub ").unwrap_or(line);
            let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
            let kinds = ["struct ", "enum ", "trait ", "type "];
            let Some(rest) = kinds.iter().find_map(|kind| line.strip_prefix(kind)) else { continue };
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            *declared.entry(name.to_owned()).or_default() += 1;
        }
    }
    let repeated: Vec<_> = declared.into_iter().filter(|(_, count)| *count > 1).collect();
    assert!(repeated.is_empty(), "type names that are declared more than once: {repeated:?}");
}

/// Most fields of a struct outside the configuration: more than that is two things.
const FIELDS_MAX: usize = 20;

/// The structs in `code` with their number of named fields.
fn structs(code: &str) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        let Some((_, rest)) = line.split_once("struct ").filter(|(before, _)| !before.starts_with(' ')) else {
            continue;
        };
        // A tuple, or no fields.
        if line.ends_with(';') || line.ends_with('(') || line.ends_with('}') {
            continue;
        }
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
        // Bounds may stand between the name and the fields.
        let mut body = lines.by_ref().skip_while(|next| !line.ends_with('{') && *next != "{").peekable();
        body.next_if_eq(&"{");
        let is_field = |line: &&str| line.starts_with("    ") && !line[4..].starts_with(' ') && line.contains(": ");
        found.push((name, body.take_while(|line| *line != "}").filter(is_field).count()));
    }
    found
}

/// The structs in `code` that have too many fields.
fn large_structs(code: &str) -> Vec<(&str, usize)> {
    structs(code).into_iter().filter(|(_, fields)| *fields > FIELDS_MAX).collect()
}

#[test]
fn no_struct_owns_too_much() {
    let files = all();
    let checked = files.iter().filter(|(path, _)| !path.starts_with("src/config"));
    let large: Vec<(&str, usize)> = checked.flat_map(|(_, code)| large_structs(code)).collect();
    assert!(large.is_empty(), "structs with more than {FIELDS_MAX} fields: {large:?}");
}

#[test]
fn a_struct_with_one_field_too_many_is_found() {
    let fields = |count: usize| (0..count).map(|at| format!("    pub field_{at}: Vec<u64>,\n")).collect::<String>();
    for head in ["pub struct Wide {", "struct Wide<T: Copy> {", "pub(crate) struct Wide<T>\nwhere\n    T: Copy,\n{"] {
        let code = |count| format!("struct Pair(u64, u64);\n\n{head}\n{}}}\n\nstruct Empty;\n", fields(count));
        assert!(large_structs(&code(FIELDS_MAX)).is_empty(), "{head}");
        assert_eq!(large_structs(&code(FIELDS_MAX + 1)), [("Wide", FIELDS_MAX + 1)], "{head}");
    }
}

#[test]
fn the_methods_of_a_type_are_in_at_most_two_files() {
    let mut files: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, code) in all() {
        for line in code.lines().filter(|line| line.starts_with("impl")) {
            let head = line.split_once(" for ").map_or(line, |(_, of)| of);
            let head = if head.starts_with("impl<") { head.split_once("> ").map_or(head, |(_, of)| of) } else { head };
            let name =
                head.trim_start_matches("impl ").split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            files.entry(name.to_owned()).or_default().insert(path.clone());
        }
    }
    let spread: Vec<_> = files.into_iter().filter(|(_, paths)| paths.len() > 2).collect();
    assert!(spread.is_empty(), "types with methods in more than two files: {spread:#?}");
}
