use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;

use serde::Serialize;
use tokio::process::Command;
use tokio::task::JoinSet;
use yardmaster_protocol::{Event, EventBody, Failure, RequestId};

use super::cast::{CAST, Fate, Role, role_of};
use super::place::{Place, git};
use crate::error::CliError;
use crate::words;

/// One commit of the target's first-parent history.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Landed {
    pub(super) commit: String,
    pub(super) subject: String,
    pub(super) request: Option<String>,
    /// Commits that the merge brought, newest first: id and subject.
    pub(super) brought: Vec<(String, String)>,
    /// Its tests were run again and were green.
    pub(super) green: bool,
}

/// One thing that has to be so.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Check {
    pub(super) ok: bool,
    pub(super) what: String,
}

/// What the remote has in the end, and whether that is right.
#[derive(Debug)]
pub(super) struct Verified {
    /// Oldest first.
    pub(super) main: Vec<Landed>,
    pub(super) checks: Vec<Check>,
}

/// How each request ended, by agent.
pub(super) type Endings = BTreeMap<String, Vec<Event>>;

/// Looks at everything that came out, with git and the tests themselves, not at what was said.
pub(super) async fn verify(place: &Place, endings: &Endings) -> Result<Verified, CliError> {
    let clone = place.check();
    git(place.dir(), &["clone", "-q", "remote.git", "check"]).await?;
    let mut main = history(&clone).await?;
    let alone: Vec<&Role> = CAST.iter().filter(|r| is_green_alone(r)).collect();
    let mut commits: Vec<String> = main.iter().map(|l| l.commit.clone()).collect();
    commits.extend(alone.iter().map(|role| format!("origin/{}", role.branch)));
    let green = test_all(&clone, &commits).await?;
    for (landed, green) in main.iter_mut().zip(&green) {
        landed.green = *green;
    }
    let mut checks = vec![
        every_answer(endings),
        fates(endings),
        landed_once(&main, endings),
        priorities(&main, endings),
        evidence(endings),
    ];
    checks.push(green_alone(&alone, &green[main.len().min(green.len())..]));
    checks.push(green_main(&main));
    Ok(Verified { main, checks })
}

fn is_green_alone(role: &Role) -> bool {
    matches!(role.fate, Fate::Fails(failing) if failing.green_alone)
}

async fn history(clone: &Path) -> Result<Vec<Landed>, CliError> {
    let format = "--format=%H%x1f%s%x1f%(trailers:key=Request-Id,valueonly,separator=%x2C)";
    let log = git(clone, &["log", "--first-parent", "--reverse", format, "origin/main"]).await?;
    let mut main = Vec::new();
    for line in log.lines() {
        let mut fields = line.split('\u{1f}').map(str::to_owned);
        let (commit, subject) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let request = fields.next().filter(|r| !r.is_empty());
        let brought = if request.is_some() { brought(clone, &commit).await? } else { Vec::new() };
        main.push(Landed { commit, subject, request, brought, green: false });
    }
    Ok(main)
}

async fn brought(clone: &Path, commit: &str) -> Result<Vec<(String, String)>, CliError> {
    let range = format!("{commit}^1..{commit}^2");
    let log = git(clone, &["log", "--format=%H%x1f%s", &range]).await?;
    let pair = |line: &str| line.split_once('\u{1f}').map(|(id, s)| (id.to_owned(), s.to_owned()));
    Ok(log.lines().filter_map(pair).collect())
}

/// Checks each commit out and runs its tests, all at the same time.
async fn test_all(clone: &Path, commits: &[String]) -> Result<Vec<bool>, CliError> {
    let mut runs = JoinSet::new();
    for (i, commit) in commits.iter().enumerate() {
        let dir = clone.with_file_name(format!("check-{i}"));
        let at = dir.to_string_lossy().into_owned();
        git(clone, &["worktree", "add", "-q", "--detach", &at, commit]).await?;
        runs.spawn(async move {
            let mut command = Command::new("sh");
            command.arg("./test.sh").current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
            (i, command.output().await.is_ok_and(|output| output.status.success()))
        });
    }
    let mut green = vec![false; commits.len()];
    while let Some(run) = runs.join_next().await {
        let (i, ok) = run.map_err(|e| CliError::Unexpected(e.to_string()))?;
        green[i] = ok;
    }
    Ok(green)
}

fn check(wrong: &[String], right: String, what: &str) -> Check {
    match wrong {
        [] => Check { ok: true, what: right },
        wrong => Check { ok: false, what: format!("{what}: {}", wrong.join("; ")) },
    }
}

fn every_answer(endings: &Endings) -> Check {
    let count = |role: &Role| endings.get(role.agent).map_or(0, Vec::len);
    let wrong: Vec<String> = CAST
        .iter()
        .filter(|role| count(role) != 1)
        .map(|role| format!("{} got {}", role.agent, count(role)))
        .collect();
    check(&wrong, format!("each of {} agents got exactly one answer", CAST.len()), "one answer each")
}

fn fates(endings: &Endings) -> Check {
    let mut wrong = Vec::new();
    for role in CAST {
        let found = endings.get(role.agent).and_then(|e| e.last()).map(|e| &e.body);
        let right = match (role.fate, found) {
            (Fate::Lands, Some(EventBody::MergeComplete { .. })) => true,
            (Fate::Fails(failing), Some(EventBody::MergeFailed(f))) => failing.cause == f.cause,
            _ => false,
        };
        if !right {
            let found = found.map_or("nothing", |body| body.token());
            wrong.push(format!("{} should be {}, but is {found}", role.agent, expected(role.fate)));
        }
    }
    let landing = CAST.iter().filter(|r| r.fate == Fate::Lands).count();
    let right = format!(
        "{landing} landed, {} failed: a conflict, a red one, and one that is red only together with another",
        CAST.len() - landing
    );
    check(&wrong, right, "who lands")
}

fn expected(fate: Fate) -> String {
    match fate {
        Fate::Lands => "landed".to_owned(),
        Fate::Fails(failing) => format!("failed ({})", words::cause(failing.cause)),
    }
}

fn landings(endings: &Endings) -> BTreeMap<RequestId, (String, &'static Role)> {
    let mut landings = BTreeMap::new();
    for (agent, events) in endings {
        for event in events {
            if let (Some(about), EventBody::MergeComplete { commit: Some(commit), .. }, Some(role)) =
                (&event.about, &event.body, role_of(agent))
            {
                landings.insert(about.request, (commit.to_string(), role));
            }
        }
    }
    landings
}

fn landed_once(main: &[Landed], endings: &Endings) -> Check {
    let said = landings(endings);
    let mut wrong = Vec::new();
    for (request, (commit, role)) in &said {
        let found: Vec<&Landed> =
            main.iter().filter(|l| l.request.as_deref() == Some(request.to_string().as_str())).collect();
        if found.len() != 1 || found.iter().any(|l| l.commit != *commit) {
            wrong.push(format!("{} of {} is {} times on main", request, role.agent, found.len()));
        }
    }
    let merges = main.iter().filter(|l| l.request.is_some()).count();
    if merges != said.len() {
        wrong.push(format!("{merges} merges for {} landings", said.len()));
    }
    check(
        &wrong,
        "everything that landed is on main once, as the commit that was said".to_owned(),
        "landed once",
    )
}

fn priorities(main: &[Landed], endings: &Endings) -> Check {
    let said = landings(endings);
    let role =
        |l: &Landed| l.request.as_ref()?.parse::<RequestId>().ok().and_then(|id| said.get(&id)).map(|s| s.1);
    let order: Vec<&Role> = main.iter().filter_map(role).collect();
    let wrong: Vec<String> = order
        .windows(2)
        .filter(|pair| pair[0].priority > pair[1].priority)
        .map(|pair| {
            format!(
                "{} ({}) landed before {} ({})",
                pair[0].agent, pair[0].system, pair[1].agent, pair[1].system
            )
        })
        .collect();
    let right = "infrastructure landed before backend before frontend, though announced the other way round";
    check(&wrong, right.to_owned(), "priorities")
}

fn evidence(endings: &Endings) -> Check {
    let mut wrong = Vec::new();
    for role in CAST {
        let Fate::Fails(failing) = role.fate else { continue };
        match endings.get(role.agent).and_then(|e| e.last()).map(|e| &e.body) {
            Some(EventBody::MergeFailed(failure))
                if shows(failure, failing.shown) && !failure.next.is_empty() => {}
            _ => wrong.push(format!("{} was not shown `{}`", role.agent, failing.shown)),
        }
    }
    check(&wrong, "whoever failed was shown why, and what to do".to_owned(), "evidence")
}

fn shows(failure: &Failure, what: &str) -> bool {
    let evidence = &failure.evidence;
    evidence.paths.iter().any(|p| p == what)
        || evidence.log_tail.as_ref().is_some_and(|log| log.contains(what))
}

fn green_alone(roles: &[&Role], green: &[bool]) -> Check {
    let wrong: Vec<String> = roles
        .iter()
        .zip(green)
        .filter(|(_, green)| !**green)
        .map(|(role, _)| format!("{} is red by itself", role.branch))
        .collect();
    let names: Vec<&str> = roles.iter().map(|r| r.branch).collect();
    check(
        &wrong,
        format!("{} are green by themselves: nothing but a merge could tell", names.join(" and ")),
        "green alone",
    )
}

fn green_main(main: &[Landed]) -> Check {
    let wrong: Vec<String> = main
        .iter()
        .filter(|l| !l.green)
        .map(|l| format!("{} is red", l.commit.get(..8).unwrap_or_default()))
        .collect();
    let right = format!(
        "main is green at every one of its {} commits: each checked out, its tests run again",
        main.len()
    );
    check(&wrong, right, "green main")
}

#[cfg(test)]
mod tests;
