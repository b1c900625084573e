mod oracle;
mod window;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use git2::Oid;
use yardmaster_git::{GitOptions, Matrix, Mirror, Verdict};
use yardmaster_protocol::{CommitId, RequestId};

use crate::cost::{Cost, cost};
use crate::stats::{median, shown};
use crate::{Trouble, git};
use window::Window;

/// Requests that come one by one when the window is full.
const NEWCOMERS: usize = 20;
/// How often the matrix is made from nothing; the mean is shown.
const BUILT: u32 = 3;
/// Moves of the target.
const MOVES: usize = 10;

/// Where the heads stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Placed {
    /// Each put on the target's tip, as one commit.
    OneBase,
    /// Forked where they were forked.
    AsTheyAre,
    /// What the newest merges brought in, each put on what was before all of them, as one commit.
    OfMerges,
}

/// What was measured and compared of one window.
struct Measured {
    pending: usize,
    pairs: usize,
    conflicts: usize,
    overlaps: usize,
    asked: u64,
    wrong: usize,
    ours: Cost,
    resident: Cost,
    adding: Vec<f64>,
    following: Vec<f64>,
    grown_mb: f64,
}

pub(super) fn table(
    repositories: &[PathBuf],
    windows: &[usize],
    placed: &[Placed],
) -> Result<String, Trouble> {
    let mut text = String::from(
        "\n### The conflict matrix\n\nReal branch heads, all pending at once; every pair, and every request against every tip, held against `git merge-tree`. *Wrong* counts both ways. From nothing and all pairs: seconds of processors, by this process and its children (on the wall); the share is that of processors. Adding one and following the target: milliseconds on the wall, median (highest).\n\n\
         | repository | heads | pairs | in conflict | meet, and merge | git asked | wrong | from nothing, CPU s (wall) | all pairs by a resident git, CPU s (wall) | share | adding one | following the target | memory, MB |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    if repositories.is_empty() {
        text.push_str("| (none: give --repository) | | | | | | | | | | | | |\n");
    }
    for repository in repositories {
        for count in windows.iter().copied() {
            for placed in placed {
                let name = crate::history::name_of(repository);
                eprintln!("matrix: {name}, {count} heads, {placed:?}");
                let scratch = tempfile::tempdir()?;
                let dir = scratch.path().join("mirror");
                git::create_bare(&dir, Some(repository))?;
                let (how, window) = match placed {
                    Placed::OneBase => {
                        ("on one base", window::on_one_base(repository, &dir, count + NEWCOMERS)?)
                    }
                    Placed::OfMerges => {
                        ("of merges", window::of_merges(repository, &dir, count + NEWCOMERS)?)
                    }
                    Placed::AsTheyAre => ("as they are", window::as_they_are(repository, count + NEWCOMERS)?),
                };
                let measured = measure(&dir, &window, count)?;
                let row = row(&name, how, &measured);
                eprint!("{row}");
                text.push_str(&row);
            }
        }
    }
    Ok(text)
}

fn row(name: &str, how: &str, m: &Measured) -> String {
    let worst = |values: &[f64]| shown(values.iter().copied().fold(0.0, f64::max));
    format!(
        "| {name} | {} {how} | {} | {} | {} | {} | {} | {:.3} ({:.2}) | {:.2} ({:.1}) | {:.2} % | {} ({}) | {} ({}) | {:.0} |\n",
        m.pending,
        m.pairs,
        m.conflicts,
        m.overlaps,
        m.asked,
        m.wrong,
        m.ours.cpu.as_secs_f64(),
        m.ours.wall.as_secs_f64(),
        m.resident.cpu.as_secs_f64(),
        m.resident.wall.as_secs_f64(),
        100.0 * m.ours.cpu.as_secs_f64() / m.resident.cpu.as_secs_f64().max(f64::EPSILON),
        shown(median(&m.adding)),
        worst(&m.adding),
        shown(median(&m.following)),
        worst(&m.following),
        m.grown_mb,
    )
}

fn measure(dir: &Path, window: &Window, count: usize) -> Result<Measured, Trouble> {
    let mirror = Mirror::open(dir, "/nowhere", GitOptions::default())?;
    let heads = numbered(&window.heads)?;
    let first = count.min(heads.len().saturating_sub(NEWCOMERS));
    let (pending, newcomers) = heads.split_at(first);
    let before = resident_mb()?;
    let tip = commit_id(window.tip)?;
    let mut matrix = Matrix::new(tip);
    let ((), mut ours) = cost(|| Ok(matrix.add_all(&mirror, pending)?))?;
    let grown_mb = resident_mb()? - before;
    for _ in 1..BUILT {
        // With a handle of its own, so that nothing was read before.
        let mirror = Mirror::open(dir, "/nowhere", GitOptions::default())?;
        matrix = Matrix::new(tip);
        ours += cost(|| Ok(matrix.add_all(&mirror, pending)?))?.1;
    }
    let ours = ours / BUILT;
    let asked = matrix.counters().asked;

    let pairs = pairs_of(&window.heads[..first]);
    eprintln!("matrix: {first} heads took {ours:?}, {:?}", matrix.counters());
    let (clean, resident) = oracle::resident(dir, &pairs)?;
    let mut wrong = wrong_pairs(&matrix, first, &clean);
    let all = |verdict: Verdict| {
        let of = |id: RequestId| matrix.meetings(id).iter().filter(|m| m.verdict == verdict).count();
        pending.iter().map(|(id, _)| of(*id)).sum::<usize>() / 2
    };
    let (conflicts, overlaps) = (all(Verdict::Conflict), all(Verdict::Overlap));

    let mut adding = Vec::new();
    for (id, head) in newcomers {
        let started = Instant::now();
        matrix.add(&mirror, *id, *head)?;
        adding.push(ms(started.elapsed()));
        wrong += wrong_newcomer(dir, &matrix, window, *id, first)?;
        matrix.remove(*id);
    }
    let mut following = Vec::new();
    for tip in window::landings(dir, window.tip, &window.heads[..first], MOVES)? {
        let started = Instant::now();
        matrix.follow(&mirror, commit_id(tip)?)?;
        following.push(ms(started.elapsed()));
        wrong += wrong_targets(dir, &matrix, &window.heads[..first], tip)?;
    }
    let pending = first;
    let pairs = pairs.len();
    Ok(Measured {
        pending,
        pairs,
        conflicts,
        overlaps,
        asked,
        wrong,
        ours,
        resident,
        adding,
        following,
        grown_mb,
    })
}

fn wrong_pairs(matrix: &Matrix, count: usize, clean: &[bool]) -> usize {
    let pairs = (0..count).flat_map(|a| (0..a).map(move |b| (a, b)));
    pairs.zip(clean).filter(|((a, b), clean)| ours_is_clean(matrix, *a, *b) != Some(**clean)).count()
}

fn ours_is_clean(matrix: &Matrix, a: usize, b: usize) -> Option<bool> {
    match matrix.pair(request(a), request(b))?.verdict {
        Verdict::Apart | Verdict::Overlap => Some(true),
        Verdict::Conflict => Some(false),
        Verdict::Unsettled => None,
    }
}

fn wrong_newcomer(
    dir: &Path,
    matrix: &Matrix,
    window: &Window,
    id: RequestId,
    count: usize,
) -> Result<usize, Trouble> {
    let at = usize::try_from(id.0)?;
    let head = window.heads[at];
    let pairs: Vec<(Oid, Oid)> = window.heads[..count].iter().map(|other| (head, *other)).collect();
    let (clean, _) = oracle::resident(dir, &pairs)?;
    Ok((0..count)
        .zip(clean)
        .filter(|(other, clean)| ours_is_clean(matrix, at, *other) != Some(*clean))
        .count())
}

fn wrong_targets(dir: &Path, matrix: &Matrix, heads: &[Oid], tip: Oid) -> Result<usize, Trouble> {
    let pairs: Vec<(Oid, Oid)> = heads.iter().map(|head| (*head, tip)).collect();
    let (clean, _) = oracle::resident(dir, &pairs)?;
    let ours = |at: usize| match matrix.against_target(request(at)).map(|standing| standing.verdict) {
        None | Some(Verdict::Apart | Verdict::Overlap) => Some(true),
        Some(Verdict::Conflict) => Some(false),
        Some(Verdict::Unsettled) => None,
    };
    Ok(clean.into_iter().enumerate().filter(|(at, clean)| ours(*at) != Some(*clean)).count())
}

fn pairs_of(heads: &[Oid]) -> Vec<(Oid, Oid)> {
    (0..heads.len()).flat_map(|a| (0..a).map(move |b| (heads[a], heads[b]))).collect()
}

fn numbered(heads: &[Oid]) -> Result<Vec<(RequestId, CommitId)>, Trouble> {
    heads.iter().enumerate().map(|(at, head)| Ok((request(at), commit_id(*head)?))).collect()
}

fn request(at: usize) -> RequestId {
    RequestId(at as u64)
}

fn commit_id(oid: Oid) -> Result<CommitId, Trouble> {
    Ok(oid.to_string().parse()?)
}

fn ms(took: Duration) -> f64 {
    took.as_secs_f64() * 1_000.0
}

/// What this process has allocated; packs that are mapped do not count.
fn resident_mb() -> Result<f64, Trouble> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kb: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kb / 1_024.0)
}
