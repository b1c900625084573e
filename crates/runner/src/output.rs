use tokio::sync::Mutex;

use crate::log::RunLog;

/// A line that is longer is written in pieces, so that nothing waits for its end.
const LONGEST_LINE: usize = 4 << 10;

/// What one step writes to the log of its run. Where steps run beside each other each line has the step's
/// name in front, and lines are not mixed.
#[derive(Debug)]
pub(crate) struct Output<'a> {
    log: &'a Mutex<RunLog>,
    name: Option<String>,
    open: Vec<u8>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(log: &'a Mutex<RunLog>, name: Option<&str>) -> Self {
        let name = name.map(|name| format!("[{name}] "));
        Self { log, name, open: Vec::new() }
    }

    /// Writes what a step said. Says whether the log is full, so that who goes on may be slowed down.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        if self.name.is_none() {
            let mut log = self.log.lock().await;
            log.write(bytes).await;
            return log.is_full();
        }
        self.open.extend_from_slice(bytes);
        let whole = match self.open.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if self.open.len() >= LONGEST_LINE => self.open.len(),
            None => 0,
        };
        let rest = self.open.split_off(whole);
        let lines = std::mem::replace(&mut self.open, rest);
        self.put(&lines).await
    }

    /// A line of our own.
    pub(crate) async fn line(&mut self, text: &str) {
        self.end_line().await;
        let line = format!("{}{text}", self.name.as_deref().unwrap_or_default());
        self.log.lock().await.line(&line).await;
    }

    /// Waits until all that was written is with the system; then says why the log is not complete.
    pub(crate) async fn flush(&mut self) -> Option<String> {
        self.end_line().await;
        let mut log = self.log.lock().await;
        log.flush().await;
        log.trouble().map(|why| format!("[the log is incomplete: {why}]"))
    }

    async fn end_line(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.put(&open).await;
    }

    async fn put(&self, lines: &[u8]) -> bool {
        let mut log = self.log.lock().await;
        let name = self.name.as_deref().unwrap_or_default().as_bytes();
        let mut marked = Vec::with_capacity(lines.len() + name.len());
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            marked.extend_from_slice(name);
            marked.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                marked.push(b'\n');
            }
        }
        log.write(&marked).await;
        log.is_full()
    }
}
