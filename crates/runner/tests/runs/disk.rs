use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use yardmaster_protocol::{GateJob, RunOutcome};
use yardmaster_runner::{Disk, DiskLimits, Lane, LaneConfig};

use crate::world::{PATIENCE, World, run, step};

const MIB: u64 = 1 << 20;

impl World {
    fn disk(&self, most_bytes: u64) -> Disk {
        let cache_dir = Some(self.path("cache"));
        std::fs::create_dir_all(self.path("cache")).unwrap();
        Disk::new(DiskLimits { most_bytes, lanes: self.path("lanes"), cache_dir })
    }

    fn lane_on(&self, disk: &Disk, number: u32) -> Lane {
        let dir = self.path(&format!("lanes/{number}"));
        let cache_dir = Some(self.path("cache"));
        Lane::open(LaneConfig { number, dir, disk: disk.clone(), cache_dir, ..self.config() }).unwrap()
    }

    /// Leaves so many MiB in the checkout.
    fn leaves(&self, mib: u32, run: &str) -> GateJob {
        let command = format!("test -e a.txt && head -c {mib}M /dev/urandom > left");
        self.job_of(run, "two", vec![step("gate", &command)])
    }

    /// A named pipe that a gate reads.
    fn pipe(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        path
    }

    fn left(&self, number: u32) -> bool {
        self.path(&format!("lanes/{number}/worktree/left")).exists()
    }
}

fn going(dir: &Path) -> usize {
    let names =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|n| n.contains("evicted")).count()
}

#[tokio::test]
async fn the_least_recently_used_lane_goes_first_and_works_again_from_nothing() {
    let world = World::new();
    let disk = world.disk(9 * MIB);
    let mut lanes: Vec<Lane> = [1, 2, 3].map(|n| world.lane_on(&disk, n)).into_iter().collect();
    // Not in the order of their numbers.
    for number in [2, 3, 1] {
        let id = format!("run-{number}");
        let report = run(&mut lanes[number - 1], &world.leaves(4, &id)).await;
        assert_eq!(report.outcome, RunOutcome::Green);
    }
    disk.look().await;
    assert_eq!([1, 2, 3].map(|n| world.left(n)), [true, false, true]);
    let told = disk.told();
    assert!(told.bytes > 8 * MIB && told.bytes <= 9 * MIB, "{told:?}");
    assert_eq!((told.evicted, told.last.as_deref()), (1, Some("lane 2 (4 MiB)")));
    assert_eq!(going(&world.path("lanes/2")), 0);
    disk.look().await;
    assert_eq!(disk.told(), told, "what fits stays");

    let report = run(&mut lanes[1], &world.leaves(4, "again")).await;
    assert_eq!(report.outcome, RunOutcome::Green);
    disk.look().await;
    assert_eq!([1, 2, 3].map(|n| world.left(n)), [true, true, false]);
    // A lane that nobody has any more is one like the others; one that another process has is left alone.
    drop(lanes.remove(0));
    let other = world.disk(MIB);
    other.look().await;
    assert_eq!([1, 2, 3].map(|n| world.left(n)), [false, true, false]);
}

#[tokio::test]
async fn a_lane_in_use_is_evicted_only_when_its_run_has_ended() {
    let world = World::new();
    let disk = world.disk(MIB);
    let [mut busy, mut idle] = [1, 2].map(|n| world.lane_on(&disk, n));
    assert_eq!(run(&mut idle, &world.leaves(4, "idle")).await.outcome, RunOutcome::Green);
    let (mut begun, judged) = (world.fifo("begun"), world.pipe("judged"));
    let command = format!(
        "head -c 4M /dev/urandom > left; echo on > {}; read -r on < {}; test -e left && test -e a.txt",
        begun.path.display(),
        judged.display()
    );
    let job = world.job_of("busy", "two", vec![step("gate", &command)]);
    let running = tokio::spawn(async move { run(&mut busy, &job).await });
    begun.line().await;
    let looking = tokio::spawn({
        let disk = disk.clone();
        async move { disk.look().await }
    });
    tokio::time::timeout(PATIENCE, async {
        while disk.told().evicted == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!([1, 2].map(|n| world.left(n)), [true, false]);
    assert!(!looking.is_finished());
    std::fs::write(&judged, "on\n").unwrap();
    assert_eq!(running.await.unwrap().outcome, RunOutcome::Green);
    looking.await.unwrap();
    assert_eq!((world.left(1), disk.told().evicted), (false, 2));
}

#[tokio::test]
async fn an_entry_of_the_cache_directory_goes_when_no_run_is_under_way() {
    let world = World::new();
    let disk = world.disk(6 * MIB);
    let mut lane = world.lane_on(&disk, 1);
    for (name, age) in [("old", 1_000), ("new", 10)] {
        let dir = world.path("cache").join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("blob"), vec![1; 4 << 20]).unwrap();
        let at = std::time::SystemTime::now() - Duration::from_secs(age);
        for path in [dir.join("blob"), dir] {
            let times = std::fs::FileTimes::new().set_accessed(at).set_modified(at);
            std::fs::File::open(path).unwrap().set_times(times).unwrap();
        }
    }
    let (mut begun, judged) = (world.fifo("begun"), world.pipe("judged"));
    let command = format!(
        "echo on > {}; read -r on < {}; test -e \"$YARDMASTER_CACHE/old/blob\"",
        begun.path.display(),
        judged.display()
    );
    let job = world.job_of("run-1", "two", vec![step("gate", &command)]);
    let running = tokio::spawn(async move { run(&mut lane, &job).await });
    begun.line().await;
    let mut looking = Box::pin(disk.look());
    let early = tokio::time::timeout(Duration::from_millis(300), &mut looking).await;
    assert!(early.is_err(), "it waits for the run");
    std::fs::write(&judged, "on\n").unwrap();
    looking.await;
    assert_eq!(running.await.unwrap().outcome, RunOutcome::Green);
    let left = ["old", "new"].map(|name| world.path("cache").join(name).join("blob").exists());
    assert_eq!(left, [false, true], "{:?}", disk.told());
    assert_eq!(going(&world.path("cache")), 0);
}
