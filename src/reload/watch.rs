//! Signs that the configuration's file may have changed. The directory is watched, not the file: editors write another
//! file and rename it, and mounted volumes swap a link beside it. What really changed is for the reader to see.

use std::path::Path;

use crossbeam::channel::Sender;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Watches as long as it lives, on a thread of the library's.
pub struct FileWatch {
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Each sign where `file` lies puts something into `signs`, unless there is something already.
    ///
    /// # Errors
    /// When the system watches nothing for us: signals do without.
    pub fn new(file: &Path, signs: Sender<()>) -> Result<Self, String> {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let tell = move |event: Result<notify::Event, notify::Error>| {
            // Where signs were lost there may have been one.
            if event.map_or(true, |event| is_sign(event.kind)) {
                let _ = signs.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).map_err(|why| why.to_string())?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|why| why.to_string())?;
        Ok(Self { _watcher: watcher })
    }
}

/// That somebody reads is none: we do that ourselves.
fn is_sign(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
