use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;
use yardmaster_protocol::RunOutcome;

use crate::world::{PATIENCE, World, run, step};

/// A disk of 4 MB at a directory; gone when it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// None, and said so, where nothing can be mounted.
    fn mount(at: &Path) -> Option<Disk> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"]).arg(at).status();
        let mounted = mounted.is_ok_and(|s| s.success());
        if !mounted {
            eprintln!("SKIPPED: nothing can be mounted at {}", at.display());
        }
        mounted.then(|| Disk(at.to_owned()))
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.0.join("filler")).unwrap();
        std::io::copy(&mut std::io::repeat(1), &mut filler).unwrap_err();
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// git does not always say why it could not write, so the run is tried with and without a standing worktree.
#[tokio::test]
async fn a_run_waits_until_its_disk_has_room() {
    for stands in [false, true] {
        let world = World::new();
        let Some(disk) = Disk::mount(&world.path("lanes")) else { return };
        std::fs::write(world.path("b.txt"), vec![b'b'; 200_000]).unwrap();
        for args in [&["add", "b.txt"][..], &["commit", "-q", "-m", "b"], &["tag", "large"]] {
            world.git(args);
        }
        world.git(&["push", "-q", "mirror", "large"]);
        let mut lane = world.lane();
        if stands {
            let first = world.job_of("run-0", "one", vec![step("gate", "true")]);
            assert_eq!(run(&mut lane, &first).await.outcome, RunOutcome::Green);
        }
        disk.fill();
        let job = world.job_of("run-1", "large", vec![step("gate", "cat a.txt")]);
        let mut running = std::pin::pin!(lane.run(&job, pending()));
        let early = timeout(Duration::from_millis(600), &mut running).await;
        assert!(early.is_err(), "{early:?} on a full disk");
        disk.free();
        let report = timeout(PATIENCE, running).await.expect("the run goes on");
        assert_eq!(report.outcome, RunOutcome::Green);
    }
}

/// Nothing has to be written for the checkout, only by the gate.
#[tokio::test]
async fn a_gate_does_not_start_on_a_full_disk() {
    let world = World::new();
    let Some(disk) = Disk::mount(&world.path("lanes")) else { return };
    let mut lane = world.lane();
    assert_eq!(run(&mut lane, &world.job("true")).await.outcome, RunOutcome::Green);
    disk.fill();
    let job = world.job_of("run-2", "two", vec![step("gate", "head -c 100000 /dev/zero > built")]);
    let mut running = std::pin::pin!(lane.run(&job, pending()));
    let early = timeout(Duration::from_millis(600), &mut running).await;
    assert!(early.is_err(), "{early:?} on a full disk");
    disk.free();
    let report = timeout(PATIENCE, running).await.expect("the run goes on");
    assert_eq!(report.outcome, RunOutcome::Green);
}

#[tokio::test]
async fn red_on_a_full_disk_is_no_verdict() {
    let world = World::new();
    let Some(_disk) = Disk::mount(&world.path("lanes")) else { return };
    let report = run(&mut world.lane(), &world.job("head -c 9999999 /dev/zero > big")).await;
    assert!(matches!(&report.outcome, RunOutcome::Lost { why } if why.contains("full disk")), "{report:?}");
}
