//! Writes a table of the dashboard's built files, which `src/gateway/assets.rs` embeds with [`include_bytes!`]. Without
//! Node there are no such files, and the program serves a plain page.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Output folder of `npm run build`. The folder above it always exists, so that Cargo can watch it.
const FOLDER: &str = "web/page/built";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=web/page");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let root = std::env::current_dir()?.join(FOLDER);
    let mut files = Vec::new();
    // If `index.html` is missing, the page is still being built.
    if root.join("index.html").is_file() {
        walk(&root, &mut files)?;
    }
    files.sort();
    let mut table = String::from("[\n");
    for (at, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&root).map_err(io::Error::other)?.to_string_lossy().replace('\\', "/");
        let plain = fs::read(file)?;
        let copy = out.join(format!("{at}.file"));
        let packed = out.join(format!("{at}.gz"));
        // Copies, because the page may be rebuilt while the compiler reads it.
        fs::write(&copy, &plain)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&plain)?;
        fs::write(&packed, encoder.finish()?)?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&plain);
        let path = if name == "index.html" { "/".to_owned() } else { format!("/{name}") };
        let etag = format!("\"{:016x}\"", hasher.finish());
        writeln!(
            table,
            "Asset {{ path: {path:?}, etag: {etag:?}, plain: include_bytes!({copy:?}), gzip: include_bytes!({packed:?}) }},"
        )
        .map_err(io::Error::other)?;
    }
    table.push_str("]\n");
    fs::write(out.join("page.rs"), table)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
