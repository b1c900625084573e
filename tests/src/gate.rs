use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::PATIENCE;

/// A gate whose verdicts the test gives, run by run. It speaks through named pipes, so that nobody polls:
/// each run tells of itself, waits to be judged, and holds a pipe open that closes with its last process.
pub struct GateKeeper {
    dir: PathBuf,
    runs: Arc<Mutex<Vec<Option<Run>>>>,
    started: watch::Receiver<usize>,
}

/// One run that has started.
#[derive(Debug)]
pub struct Run {
    /// `YARDMASTER_RUN`.
    pub id: String,
    /// `YARDMASTER_REQUEST`.
    pub request: String,
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
        let keeper = GateKeeper { dir: dir.to_owned(), runs: Arc::clone(&runs), started };
        // Open for both, so that it never ends.
        let events = OpenOptions::new().read(true).write(true).open(dir.join("events")).expect("opened");
        let dir = dir.to_owned();
        std::thread::spawn(move || {
            for line in BufReader::new(events).lines().map_while(Result::ok) {
                if line == "end" {
                    return;
                }
                let (dir, runs, count) = (dir.clone(), Arc::clone(&runs), count.clone());
                std::thread::spawn(move || follow(&dir, &line, &runs, &count));
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
             echo \"$YARDMASTER_RUN $YARDMASTER_REQUEST\" > '{dir}/events'\nexec 9> \"$run.alive\"\n{before}\n\
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

    /// Every run that has started and was not handed out yet.
    pub fn take_started(&self) -> Vec<Run> {
        self.runs.lock().expect("nobody panics here").iter_mut().filter_map(Option::take).collect()
    }

    /// How many runs have started so far, handed out or not.
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
fn follow(dir: &Path, line: &str, runs: &Mutex<Vec<Option<Run>>>, count: &watch::Sender<usize>) {
    let Some((id, request)) = line.split_once(' ') else { return };
    let verdict = OpenOptions::new().read(true).write(true).open(dir.join(format!("{id}.verdict")));
    let alive = File::open(dir.join(format!("{id}.alive")));
    let (Ok(verdict), Ok(mut alive)) = (verdict, alive) else { return };
    let (died, dead) = watch::channel(false);
    let run = Run { id: id.to_owned(), request: request.to_owned(), verdict, dead };
    runs.lock().expect("nobody panics here").push(Some(run));
    count.send_modify(|n| *n += 1);
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
