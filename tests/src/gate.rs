use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::PATIENCE;

/// A gate whose verdicts the test gives, run by run. It speaks through named pipes, so that nobody polls:
/// each run tells of itself, waits to be judged, and holds a pipe open that closes with its last process.
pub struct GateKeeper {
    dir: PathBuf,
    runs: Arc<Mutex<Vec<Option<Run>>>>,
    started: watch::Receiver<usize>,
    tips: Arc<Tips>,
}

/// Runs of the target's own tip: green at once, unless somebody wants to judge them.
#[derive(Debug, Default)]
struct Tips {
    kept: AtomicBool,
    runs: Mutex<Vec<Run>>,
}

/// One run that has started.
#[derive(Debug)]
pub struct Run {
    /// `YARDMASTER_RUN`.
    pub id: String,
    /// `YARDMASTER_REQUEST`, or `tip`.
    pub request: String,
    /// `YARDMASTER_CANDIDATE`.
    pub candidate: String,
    verdict: File,
    dead: watch::Receiver<bool>,
}

impl GateKeeper {
    /// Keeps its pipes in `dir`.
    pub fn open(dir: &Path) -> GateKeeper {
        std::fs::create_dir_all(dir).expect("a directory");
        make_pipe(&dir.join("events"));
        let runs = Arc::new(Mutex::new(Vec::new()));
        let (count, started) = watch::channel(0);
        let tips = Arc::new(Tips::default());
        let keeper =
            GateKeeper { dir: dir.to_owned(), runs: Arc::clone(&runs), started, tips: Arc::clone(&tips) };
        // Open for both, so that it never ends.
        let events = OpenOptions::new().read(true).write(true).open(dir.join("events")).expect("opened");
        let dir = dir.to_owned();
        std::thread::spawn(move || {
            for line in BufReader::new(events).lines().map_while(Result::ok) {
                if line == "end" {
                    return;
                }
                let (dir, runs, count) = (dir.clone(), Arc::clone(&runs), count.clone());
                let tips = Arc::clone(&tips);
                std::thread::spawn(move || follow(&dir, &line, &runs, &tips, &count));
            }
        });
        keeper
    }

    /// The gate, as a shell script; `background` processes of it inherit what tells of their end.
    pub fn script(&self) -> String {
        self.script_with("")
    }

    /// The gate, with shell commands that run before it waits for its verdict.
    pub fn script_with(&self, before: &str) -> String {
        let dir = self.dir.display();
        format!(
            "#!/bin/sh\nrun='{dir}'/$YARDMASTER_RUN\nrm -f \"$run.verdict\" \"$run.alive\"\n\
             mkfifo \"$run.verdict\" \"$run.alive\" || exit 97\n\
             echo \"$YARDMASTER_RUN ${{YARDMASTER_REQUEST:-tip}} $YARDMASTER_CANDIDATE\" > '{dir}/events'\nexec 9> \"$run.alive\"\n{before}\n\
             read -r verdict < \"$run.verdict\"\nexit \"$verdict\"\n"
        )
    }

    /// The next run of `request` that was not handed out yet.
    pub async fn run_of(&self, request: &str) -> Run {
        let mut started = self.started.clone();
        let look = async {
            loop {
                let taken = {
                    let mut runs = self.runs.lock().expect("nobody panics here");
                    runs.iter_mut()
                        .find(|r| r.as_ref().is_some_and(|r| r.request == request))
                        .and_then(Option::take)
                };
                if let Some(run) = taken {
                    return run;
                }
                if started.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(PATIENCE, look)
            .await
            .unwrap_or_else(|_| panic!("no run of {request} has started"))
    }

    /// Every run of a request that has started and was not handed out yet.
    pub fn take_started(&self) -> Vec<Run> {
        self.runs.lock().expect("nobody panics here").iter_mut().filter_map(Option::take).collect()
    }

    /// From now on runs of the target's own tip wait to be judged.
    pub fn keep_tips(&self) {
        self.tips.kept.store(true, Ordering::SeqCst);
    }

    /// Runs of the target's own tip that wait to be judged.
    pub fn take_tips(&self) -> Vec<Run> {
        std::mem::take(&mut self.tips.runs.lock().expect("nobody panics here"))
    }

    /// How many runs of requests have started so far, handed out or not.
    pub fn started(&self) -> usize {
        self.runs.lock().expect("nobody panics here").len()
    }

    /// Lets everything through from now on: every run that waits and every run to come is green.
    pub fn open_wide(&self) {
        let runs = Arc::clone(&self.runs);
        let mut started = self.started.clone();
        tokio::spawn(async move {
            loop {
                {
                    let mut runs = runs.lock().expect("nobody panics here");
                    runs.iter_mut().filter_map(Option::take).for_each(Run::green);
                }
                if started.changed().await.is_err() {
                    return;
                }
            }
        });
    }
}

impl Drop for GateKeeper {
    fn drop(&mut self) {
        if let Ok(mut events) = OpenOptions::new().read(true).write(true).open(self.dir.join("events")) {
            let _ = events.write_all(b"end\n");
        }
    }
}

/// Opening waits for the gate to open its end, so that the first end of file is the last process's.
fn follow(dir: &Path, line: &str, runs: &Mutex<Vec<Option<Run>>>, tips: &Tips, count: &watch::Sender<usize>) {
    let words: Vec<&str> = line.split(' ').collect();
    let [id, request, candidate] = words[..] else { return };
    let verdict = OpenOptions::new().read(true).write(true).open(dir.join(format!("{id}.verdict")));
    let alive = File::open(dir.join(format!("{id}.alive")));
    let (Ok(mut verdict), Ok(mut alive)) = (verdict, alive) else { return };
    let (died, dead) = watch::channel(false);
    if request == "tip" && !tips.kept.load(Ordering::SeqCst) {
        let _ = verdict.write_all(b"0\n");
        let _ = alive.read_to_end(&mut Vec::new());
        return;
    }
    let run = Run {
        id: id.to_owned(),
        request: request.to_owned(),
        candidate: candidate.to_owned(),
        verdict,
        dead,
    };
    if request == "tip" {
        tips.runs.lock().expect("nobody panics here").push(run);
    } else {
        runs.lock().expect("nobody panics here").push(Some(run));
        count.send_modify(|n| *n += 1);
    }
    let _ = alive.read_to_end(&mut Vec::new());
    died.send_replace(true);
}

impl Run {
    /// Green.
    pub fn green(self) {
        self.ends_with(0);
    }

    /// Red, with exit code 1.
    pub fn red(self) {
        self.ends_with(1);
    }

    fn ends_with(mut self, code: i32) {
        self.verdict.write_all(format!("{code}\n").as_bytes()).expect("a pipe takes a line");
        // The pipe keeps the line only while somebody has it open.
        let (file, mut dead) = (self.verdict, self.dead);
        tokio::spawn(async move {
            let _ = dead.wait_for(|dead| *dead).await;
            drop(file);
        });
    }

    /// Whether its last process is gone.
    pub fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Returns when its last process is gone.
    pub async fn dead(&self) {
        let mut dead = self.dead.clone();
        let died = tokio::time::timeout(PATIENCE, dead.wait_for(|d| *d)).await;
        assert!(matches!(died, Ok(Ok(_))), "processes of {} are left", self.id);
    }
}

/// A named pipe.
pub fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.is_ok_and(|s| s.success()), "no pipe at {}", path.display());
}
