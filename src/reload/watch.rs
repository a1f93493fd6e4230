//! Signs that the configuration file may have changed. Watches the directory, not the file: editors write another file
//! and rename it, and mounted volumes swap a link beside it. The reader determines what has really changed.

use std::path::Path;

use crossbeam::channel::Sender;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches for as long as it lives, on a thread of the library.
pub(crate) struct FileWatch {
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Sends a sign to `signs` for each event where `file` lies, unless one is already waiting.
    ///
    /// # Errors
    /// If the system cannot watch the directory. SIGHUP works without it.
    pub fn new(file: &Path, signs: Sender<()>) -> Result<Self, String> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let tell = move |event: Result<Event, notify::Error>| {
            // If events were lost, one of them may have been a sign.
            if event.map_or(true, |event| is_sign(&event)) {
                let _ = signs.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).map_err(|why| why.to_string())?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|why| why.to_string())?;
        // If the file is a link, its target may be in another directory.
        let real = file.canonicalize().ok();
        if let Some(real) =
            real.as_deref().and_then(Path::parent).filter(|real| folder.canonicalize().ok().as_deref() != Some(real))
        {
            // If this fails, the link itself is still watched.
            let _ = watcher.watch(real, RecursiveMode::NonRecursive);
        }
        Ok(Self { _watcher: watcher })
    }
}

/// Whether an event can mean a change of the file. Reads do not count, since this process reads the file itself. On a
/// system that reports the end of writing, single writes and new empty files do not count either, so that no
/// half-written file is read.
fn is_sign(event: &Event) -> bool {
    let tells_the_end = cfg!(target_os = "linux");
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => !tells_the_end,
        EventKind::Create(_) => !tells_the_end || event.paths.iter().any(|path| path.is_symlink()),
        _ => true,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crossbeam::channel::unbounded;
    use std::io::{Seek, Write};
    use std::time::Duration;

    /// Only keeps the test from hanging.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The signs that `acts` causes in a folder with a file `c.toml`: the names of the files, in order.
    fn signs_of(name: &str, acts: impl FnOnce(&Path)) -> Vec<String> {
        let folder = std::env::temp_dir().join(format!("spreadwire-watch-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("c.toml"), "before").unwrap();
        let (tell, told) = unbounded();
        let mut watcher = notify::recommended_watcher(move |event: Result<Event, notify::Error>| {
            let _ = tell.send(event.unwrap());
        })
        .unwrap();
        watcher.watch(&folder, RecursiveMode::NonRecursive).unwrap();
        acts(&folder);
        // The system reports events in order.
        std::fs::write(folder.join("last"), "").unwrap();
        let mut signs = Vec::new();
        loop {
            let event = told.recv_timeout(PATIENCE).unwrap();
            let Some(name) = event.paths.first().and_then(|path| path.file_name()) else { continue };
            if name == "last" {
                break;
            }
            if is_sign(&event) {
                signs.push(name.to_str().unwrap().to_owned());
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
        signs
    }

    #[test]
    fn a_slow_copy_is_one_sign_at_its_end() {
        let signs = signs_of("slow", |folder| {
            let mut file = std::fs::File::create(folder.join("c.toml")).unwrap();
            file.write_all(b"half").unwrap();
            file.flush().unwrap();
            // Reading the file and creating another one are not signs either.
            std::fs::read(folder.join("c.toml")).unwrap();
            let other = std::fs::File::create(folder.join("other")).unwrap();
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(b"all").unwrap();
            drop(file);
            drop(other);
        });
        assert_eq!(signs, ["c.toml", "other"]);
    }

    #[test]
    fn a_file_or_a_link_that_takes_its_place_is_a_sign() {
        let renamed = signs_of("renamed", |folder| {
            std::fs::rename(folder.join("c.toml"), folder.join("d.toml")).unwrap();
        });
        assert!(renamed.contains(&"d.toml".to_owned()), "{renamed:?}");
        let linked = signs_of("linked", |folder| {
            std::os::unix::fs::symlink("c.toml", folder.join("data")).unwrap();
        });
        assert_eq!(linked, ["data"]);
    }
}
