use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::tail::Ring;

/// The most of a log's end that is held in memory once its head is full.
const TAIL_BYTES: u64 = 1 << 20;
/// Room for the line that says how much is missing.
const GAP_BYTES: u64 = 128;
const FINISH_LIMIT: Duration = Duration::from_secs(5);

/// The log of a run while it is written: the head goes to disk at once, so that it can be followed,
/// and the end waits in memory until the run is over. Never fails: trouble is kept and told.
///
/// The file is locked exclusively as long as the run goes on; readers tell by that whether more can
/// come, also after the writer was killed.
#[derive(Debug)]
pub(crate) struct RunLog {
    file: Option<File>,
    head_left: u64,
    tail: Ring,
    left_out: u64,
    full: bool,
    line_open: bool,
    trouble: Option<String>,
}

impl RunLog {
    /// Makes a new file at `path`, instead of one that an earlier try of the same run left. Blocking.
    pub(crate) fn create(path: &Path, log_bytes: u64) -> Self {
        match new_file(path) {
            Ok(file) => Self::on(file, log_bytes),
            Err(why) => {
                let mut log = Self { file: None, ..Self::empty(log_bytes) };
                log.note(&why);
                log
            }
        }
    }

    fn on(file: fs::File, log_bytes: u64) -> Self {
        Self { file: Some(File::from_std(file)), ..Self::empty(log_bytes) }
    }

    fn empty(log_bytes: u64) -> Self {
        let tail = TAIL_BYTES.min(log_bytes / 2);
        Self {
            file: None,
            head_left: log_bytes.saturating_sub(tail).saturating_sub(GAP_BYTES),
            tail: Ring::new(usize::try_from(tail).unwrap_or(usize::MAX)),
            left_out: 0,
            full: false,
            line_open: false,
            trouble: None,
        }
    }

    /// Whether the head is full, so that whoever goes on writing may be slowed down.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Why the log on disk is not complete; none when it is.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else { return };
        self.line_open = *last != b'\n';
        let room = usize::try_from(self.head_left).unwrap_or(usize::MAX).min(bytes.len());
        let (head, rest) = bytes.split_at(room);
        self.head_left -= room as u64;
        if !rest.is_empty() {
            self.full = true;
            self.left_out += self.tail.push(rest) as u64;
        }
        self.put(head).await;
    }

    /// A line of our own, at the start of a line.
    pub(crate) async fn line(&mut self, text: &str) {
        let start = if self.line_open { "\n" } else { "" };
        self.write(format!("{start}{text}\n").as_bytes()).await;
    }

    /// Writes what is still in memory and lets readers know that there is no more.
    pub(crate) async fn finish(mut self) {
        if tokio::time::timeout(FINISH_LIMIT, self.write_end()).await.is_err() {
            tracing::warn!("the log's disk does not answer; its end is lost");
        }
    }

    async fn write_end(&mut self) {
        if self.left_out > 0 {
            let gap = format!("\n[{} bytes left out here]\n", self.left_out);
            self.put(gap.as_bytes()).await;
        }
        let tail = self.tail.take();
        self.put(&tail).await;
        self.flush().await;
        let Some(mut file) = self.file.take() else { return };
        if let Some(why) = self.trouble.take() {
            // Whatever made room since: the reader should know that something is missing.
            let note = format!("\n[this log is incomplete: {why}]\n");
            let _ = file.write_all(note.as_bytes()).await;
            let _ = file.flush().await;
        }
        // Not left to the drop: a child between fork and exec would hold the lock a while longer.
        let _ = file.into_std().await.unlock();
    }

    async fn put(&mut self, bytes: &[u8]) {
        if self.trouble.is_some() || bytes.is_empty() {
            return;
        }
        let Some(file) = self.file.as_mut() else { return };
        if let Err(why) = file.write_all(bytes).await {
            self.note(&why);
        }
    }

    /// Waits until all that was written so far is with the system; only then is every error known.
    pub(crate) async fn flush(&mut self) {
        let Some(file) = self.file.as_mut() else { return };
        if let Err(why) = file.flush().await
            && self.trouble.is_none()
        {
            self.note(&why);
        }
    }

    fn note(&mut self, why: &io::Error) {
        tracing::warn!(%why, "the run goes on without a complete log");
        self.trouble = Some(why.to_string());
    }
}

/// The file gets its name when it is locked already, so that no reader ever takes it for finished.
fn new_file(path: &Path) -> io::Result<fs::File> {
    let unnamed = path.with_extension("new");
    match fs::remove_file(&unnamed) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).open(&unnamed)?;
    // A file system without locks has logs that always look finished; that harms nobody.
    let _ = file.try_lock();
    fs::rename(&unnamed, path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn written(log_bytes: u64, chunks: usize) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = RunLog::create(&path, log_bytes);
        for n in 0..chunks {
            log.write(format!("{n:09}\n").as_bytes()).await;
        }
        assert_eq!(log.is_full(), chunks * 10 > 4096 - 2048 - 128);
        log.finish().await;
        fs::read(path).unwrap()
    }

    #[tokio::test]
    async fn head_and_tail_are_kept_and_the_gap_is_named() {
        assert_eq!(written(4096, 100).await.len(), 1000);
        let text = String::from_utf8(written(4096, 100_000).await).unwrap();
        assert!(text.len() <= 4096, "{}", text.len());
        assert!(text.starts_with("000000000\n000000001\n"), "{text}");
        assert!(text.ends_with("000099999\n"), "{text}");
        let left_out: usize =
            text.split_once("\n[").unwrap().1.split_once(" bytes left out").unwrap().0.parse().unwrap();
        assert_eq!(left_out, 1_000_000 - (4096 - 128));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_full_disk_is_noted_and_nothing_fails() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut log = RunLog::on(full, 1 << 20);
        log.write(b"hello\n").await;
        log.flush().await;
        assert!(log.trouble().unwrap().contains("space"), "{:?}", log.trouble());
        log.write(b"more\n").await;
        log.finish().await;
    }
}
