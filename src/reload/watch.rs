//! Signs that the configuration's file may have changed. The directory is watched, not the file: editors write another
//! file and rename it, and mounted volumes swap a link beside it. What really changed is for the reader to see.

use std::path::Path;

use crossbeam::channel::Sender;
use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

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
        let tell = move |event: Result<Event, notify::Error>| {
            // Where signs were lost there may have been one.
            if event.map_or(true, |event| is_sign(&event)) {
                let _ = signs.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(tell).map_err(|why| why.to_string())?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(|why| why.to_string())?;
        // Where the file is a link, what it leads to may be written elsewhere.
        let real = file.canonicalize().ok();
        if let Some(real) =
            real.as_deref().and_then(Path::parent).filter(|real| folder.canonicalize().ok().as_deref() != Some(real))
        {
            // Without it, the link itself is still watched.
            let _ = watcher.watch(real, RecursiveMode::NonRecursive);
        }
        Ok(Self { _watcher: watcher })
    }
}

/// That somebody reads is none: we do that ourselves. Nor is a write, or a file that is new and still empty, on a system
/// that tells of the end of writing: half of a file is not to be taken for the whole.
fn is_sign(event: &Event) -> bool {
    let tells_the_end = cfg!(target_os = "linux");
    match event.kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        EventKind::Modify(ModifyKind::Data(_)) => !tells_the_end,
        EventKind::Create(_) => !tells_the_end || event.paths.iter().any(|path| path.is_symlink()),
        _ => true,
    }
}
