//! What a follower accepted, one line per batch, to prove afterwards that no two leaders were
//! believed. On the follower's thread; only where a file is configured.
//!
//! A line is `<ns> <instance> <venue> <leader> <token> <sequence>`: the monotonic time of arrival, who accepted, and
//! the batch. Each is written at once and whole, so that a process that is killed has lost none.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use crate::cluster::ClusterSettings;
use crate::cluster::batch::Head;
use crate::market::Directory;
use crate::time::MonoNs;

/// The open file.
pub struct History {
    file: File,
    instance: String,
    line: Vec<u8>,
}

impl History {
    /// The file that `settings` name, to be added to; `None` when they name none.
    ///
    /// # Errors
    /// A sentence, when it cannot be written to.
    pub fn open(settings: &ClusterSettings) -> Result<Option<Self>, String> {
        let (path, instance) = (&settings.cluster.history, &settings.id);
        if path.is_empty() {
            return Ok(None);
        }
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|why| format!("cluster.history: {path}: {why}"))?;
        Ok(Some(Self { file, instance: instance.clone(), line: Vec::new() }))
    }

    /// One more batch.
    ///
    /// # Errors
    /// When the disk takes no more.
    pub fn add(&mut self, head: &Head, directory: &Directory, arrived: MonoNs) -> io::Result<()> {
        let Self { file, instance, line } = self;
        let (venue, Head { from, token, sequence, .. }) = (&directory.venue(head.venue).name, head);
        line.clear();
        writeln!(line, "{} {instance} {venue} {from} {token} {sequence}", arrived.0)?;
        file.write_all(line)
    }
}
