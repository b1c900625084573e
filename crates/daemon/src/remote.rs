use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use yardmaster_failpoint::{Point, hit};
use yardmaster_git::{GitError, Mirror};
use yardmaster_protocol::{BranchName, CommitId, LandOutcome, Landing, Movement, Project, Sighting};

use crate::happening::Happening;

/// What the hand at one target is asked for. Looks and pushes go one after the other and report
/// before the next begins: a look that started before a push can never be taken for one after it.
#[derive(Debug)]
pub(crate) enum RemoteOrder {
    Look { known: Option<CommitId>, asked: Vec<CommitId> },
    Land(Landing),
}

/// What the hand at a target found; with the paths that somebody changed there around the queue.
#[derive(Debug)]
pub(crate) enum RemoteReport {
    Looked { known: Option<CommitId>, found: Result<Sighting, GitError>, around: Vec<String> },
    Pushed { to: CommitId, outcome: LandOutcome, around: Vec<String> },
}

/// Starts the hand at `target`.
pub(crate) fn start(
    mirror: Arc<Mirror>,
    target: BranchName,
    reports: mpsc::Sender<Happening>,
) -> mpsc::Sender<RemoteOrder> {
    let (orders, mut waiting) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Some(order) = waiting.recv().await {
            let (mirror, at) = (Arc::clone(&mirror), target.clone());
            let panicked = silence(&order);
            let carried_out = spawn_blocking(move || carry_out(&mirror, &at, order)).await;
            let report = carried_out.unwrap_or_else(|why| panicked(why.to_string()));
            if reports.send(Happening::Remote(target.clone(), report)).await.is_err() {
                return;
            }
        }
    });
    orders
}

/// What is reported of an order whose carrying out panicked: that nobody knows how it went.
fn silence(order: &RemoteOrder) -> impl FnOnce(String) -> RemoteReport + use<> {
    let (known, to) = match order {
        RemoteOrder::Look { known, .. } => (*known, None),
        RemoteOrder::Land(landing) => (None, Some(landing.to)),
    };
    move |why| match to {
        Some(to) => RemoteReport::Pushed { to, outcome: LandOutcome::Unknown { why }, around: Vec::new() },
        None => {
            let found = Err(GitError::Unreachable { why });
            RemoteReport::Looked { known, found, around: Vec::new() }
        }
    }
}

fn carry_out(mirror: &Mirror, target: &BranchName, order: RemoteOrder) -> RemoteReport {
    match order {
        RemoteOrder::Look { known, asked } => {
            hit(Point::BeforeLook);
            let found = mirror.look(target, known, &asked);
            hit(Point::AfterLook);
            let around = known.zip(found.as_ref().ok());
            let around = around.map(|(known, seen)| changed(mirror, known, seen)).unwrap_or_default();
            RemoteReport::Looked { known, found, around }
        }
        RemoteOrder::Land(landing) => {
            let outcome = mirror.land_audited(target, &landing);
            let around = match &outcome {
                LandOutcome::Landed { seen } => changed(mirror, landing.to, seen),
                LandOutcome::Moved { seen } => changed(mirror, landing.from, seen),
                LandOutcome::Declined { .. } | LandOutcome::Altered { .. } | LandOutcome::Unknown { .. } => {
                    Vec::new()
                }
            };
            RemoteReport::Pushed { to: landing.to, outcome, around }
        }
    }
}

/// What differs from where the target was; nothing where that cannot be said.
fn changed(mirror: &Mirror, from: CommitId, seen: &Sighting) -> Vec<String> {
    if seen.tip == from || !matches!(seen.movement, Movement::Forward) {
        return Vec::new();
    }
    mirror.changed_paths(from, seen.tip).map(|changes| changes.files).unwrap_or_default()
}

/// What a project file says, with the file of code owners that it names, or why it cannot be used.
pub(crate) fn project(mirror: &Mirror, sighting: &Sighting) -> Result<Project, String> {
    let project = project_alone(sighting)?;
    let Some(path) = &project.scope.codeowners else { return Ok(project) };
    let text = mirror.rules_at(sighting.tip, path).map_err(|e| e.to_string())?;
    project.with_owners(text.as_deref()).map_err(|e| e.to_string())
}

fn project_alone(sighting: &Sighting) -> Result<Project, String> {
    match &sighting.project_file {
        None => Ok(Project::default()),
        Some(text) => Project::parse(text).map_err(|e| e.to_string()),
    }
}

/// The sighting that a push ended with, if the remote answered.
pub(crate) fn seen(outcome: &LandOutcome) -> Option<&Sighting> {
    match outcome {
        LandOutcome::Landed { seen }
        | LandOutcome::Moved { seen }
        | LandOutcome::Declined { seen, .. }
        | LandOutcome::Altered { seen, .. } => Some(seen),
        LandOutcome::Unknown { .. } => None,
    }
}
