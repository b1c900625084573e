//! What a standing checkout saves: the switch from one candidate to the next, and a real project's gate.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use yardmaster_git::Worktree;
use yardmaster_protocol::CommitId;

use crate::Trouble;
use crate::git;
use crate::stats::{median, shown, spread};

const FILES: [usize; 3] = [200, 5_000, 50_000];
const SWITCHES: usize = 40;
const BRANCHES: usize = 20;
/// Further back than this there is no base.
const MOST_BACK: usize = 200;

/// One switch between two candidates of which each changes one file and adds one.
pub(super) fn switches() -> Result<String, Trouble> {
    let mut text = format!(
        "\n### Lane switch\n\n{SWITCHES} switches, milliseconds.\n\n| files | `git reset` and `git clean` | the lane's | of git |\n| ---: | ---: | ---: | ---: |\n"
    );
    for files in FILES {
        eprintln!("lanes: {files} files");
        let dir = tempfile::tempdir()?;
        let (bare, clone, lane) =
            (dir.path().join("bare.git"), dir.path().join("clone"), dir.path().join("lane/worktree"));
        git::create_generated(&bare, files, 2)?;
        let id = |n: usize| git::run(&bare, &["rev-parse", &git::branch(n)]);
        let commits: [String; 2] = [id(0)?, id(1)?];
        git::run(dir.path(), &["clone", "--quiet", &bare.to_string_lossy(), &clone.to_string_lossy()])?;
        let worktree = Worktree::open(&bare, &lane)?;
        worktree.checkout(commits[1].parse()?)?;
        let (mut by_git, mut by_lane) = (Vec::new(), Vec::new());
        for n in 0..SWITCHES {
            let commit = &commits[n % 2];
            let began = Instant::now();
            git::run(&clone, &["reset", "--quiet", "--hard", commit])?;
            git::run(&clone, &["clean", "--quiet", "-d", "--force", "--force"])?;
            by_git.push(began.elapsed().as_secs_f64() * 1e3);
            let commit: CommitId = commit.parse()?;
            let began = Instant::now();
            worktree.checkout(commit)?;
            by_lane.push(began.elapsed().as_secs_f64() * 1e3);
        }
        let of_git = median(&by_lane) / median(&by_git).max(f64::EPSILON);
        text.push_str(&format!("| {files} | {} | {} | {of_git:.2} |\n", spread(&by_git), spread(&by_lane)));
    }
    Ok(text)
}

/// Processor seconds that `gate` and the checkout before it take, in a standing checkout and in a new clone.
pub(super) fn project(source: &Path, gate: &str, fresh: usize) -> Result<String, Trouble> {
    let dir = tempfile::tempdir()?;
    let bare = dir.path().join("bare.git");
    git::create_bare(&bare, Some(source))?;
    let tip = git::run(source, &["rev-parse", "HEAD"])?;
    let (base, branches) = branches(&bare, &tip)?;
    eprintln!("lanes: {} branches on {base}", branches.len());
    let worktree = Worktree::open(&bare, &dir.path().join("lane/worktree"))?;
    worktree.checkout(base.parse()?)?;
    let (first, _) = run(worktree.dir(), gate)?;
    let (mut warm, mut cold, mut green) = (Vec::new(), Vec::new(), 0);
    for branch in &branches {
        let began = Instant::now();
        worktree.checkout(branch.parse()?)?;
        let switch = began.elapsed().as_secs_f64();
        let (took, passed) = run(worktree.dir(), gate)?;
        warm.push(switch + took);
        green += usize::from(passed);
        eprintln!("lanes: {branch} warm {:.1} s", switch + took);
    }
    for (n, branch) in branches.iter().take(fresh).enumerate() {
        let clone = dir.path().join(format!("fresh-{n}"));
        let began = Instant::now();
        git::run(
            dir.path(),
            &["clone", "--quiet", "--no-checkout", &bare.to_string_lossy(), &clone.to_string_lossy()],
        )?;
        git::run(&clone, &["fetch", "--quiet", "origin", &format!("refs/bench/{branch}")])?;
        git::run(&clone, &["checkout", "--quiet", "--detach", branch])?;
        let checkout = began.elapsed().as_secs_f64();
        let (took, _) = run(&clone, gate)?;
        cold.push(checkout + took);
        eprintln!("lanes: {branch} fresh {:.1} s", checkout + took);
        fs::remove_dir_all(&clone)?;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / (values.len() as f64).max(1.0);
    Ok(format!(
        "\n### Warm lanes\n\n`{gate}` on {} real changes, {green} green; {} in new clones; processor seconds with the checkout. First run in the lane: {}.\n\n| | each | mean |\n| --- | ---: | ---: |\n| warm lane | {} | {} |\n| new clone | {} | {} |\n\nNew clone of warm lane: {:.1}.\n",
        branches.len(),
        cold.len(),
        shown(first),
        spread(&warm),
        shown(mean(&warm)),
        spread(&cold),
        shown(mean(&cold)),
        mean(&cold) / mean(&warm).max(f64::EPSILON),
    ))
}

/// The newest changes that apply to one commit, each on its own.
fn branches(bare: &Path, tip: &str) -> Result<(String, Vec<String>), Trouble> {
    let count = format!("--max-count={MOST_BACK}");
    let history = git::run(bare, &["rev-list", "--first-parent", "--no-merges", &count, tip])?;
    let history: Vec<&str> = history.lines().collect();
    let base =
        (*history.get(2 * BRANCHES).or(history.last()).ok_or("the repository has no history")?).to_owned();
    let mut found = Vec::new();
    for change in history.iter().take(2 * BRANCHES) {
        let from = format!("--merge-base={change}^");
        let merged = git::output(bare, &["merge-tree", "--write-tree", &from, &base, change])?;
        if !merged.status.success() || found.len() == BRANCHES {
            continue;
        }
        let tree = String::from_utf8_lossy(&merged.stdout).trim().to_owned();
        let commit = git::run(bare, &["commit-tree", "-p", &base, "-m", "change", &tree])?;
        git::run(bare, &["update-ref", &format!("refs/bench/{commit}"), &commit])?;
        found.push(commit);
    }
    git::run(bare, &["update-ref", "refs/heads/main", &base])?;
    Ok((base, found))
}

/// Processor seconds of a command, and whether it ended well. The machine may be busy with others.
fn run(dir: &Path, gate: &str) -> Result<(f64, bool), Trouble> {
    let script = format!("({gate}) >/dev/null 2>&1; code=$?; times; exit $code");
    let done = Command::new("sh").args(["-c", &script]).current_dir(dir).stdin(Stdio::null()).output()?;
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    let of_children = told.lines().nth(1).ok_or("`times` tells nothing")?;
    let seconds = |word: &str| -> Option<f64> {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m')?;
        Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
    };
    let took = of_children.split_whitespace().filter_map(seconds).sum();
    Ok((took, done.status.success()))
}
