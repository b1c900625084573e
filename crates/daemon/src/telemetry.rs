use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use yardmaster_protocol::{Fact, RequestId, RunOutcome};
use yardmaster_queue::FREEZERS;

/// Starts the log on stderr: for people on a terminal, one JSON object a line otherwise.
/// `YARDMASTER_LOG` filters it, as in `info,yardmaster_git=debug`; `default` is used without it.
pub fn start_logging(default: &str) {
    let filter = EnvFilter::try_from_env("YARDMASTER_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = if std::io::stderr().is_terminal() {
        log.with_target(false).compact().try_init()
    } else {
        // `target` is a branch here; two keys of one name are no JSON.
        log.json()
            .with_target(false)
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .try_init()
    };
    // Only a second call fails, and then the log is on already.
    let _ = started;
}

/// Tells the log what was journalled: one line for what people care about, in the request's span.
pub(crate) fn tell(fact: &Fact) {
    match fact {
        Fact::Announced { .. }
        | Fact::Repeated { .. }
        | Fact::Pinned { .. }
        | Fact::Failed { .. }
        | Fact::Landed { .. }
        | Fact::Withdrawn { .. }
        | Fact::Superseded { .. }
        | Fact::Blocked { .. }
        | Fact::Promoted { .. }
        | Fact::Displaced { .. }
        | Fact::Amended { .. } => of_requests(fact),
        Fact::Testing { .. }
        | Fact::RunEnded { .. }
        | Fact::RunDropped { .. }
        | Fact::BaseTesting { .. }
        | Fact::Suspected { .. }
        | Fact::Carried { .. }
        | Fact::CandidatesLost { .. }
        | Fact::GatePassed { .. }
        | Fact::RunnersSeen { .. } => of_runs(fact),
        Fact::TargetSeen { .. }
        | Fact::RemoteLost { .. }
        | Fact::RemoteBack
        | Fact::LandingStarted { .. }
        | Fact::LandingEnded { .. }
        | Fact::WindowSet { .. }
        | Fact::FellOff { .. }
        | Fact::TargetRed { .. }
        | Fact::TargetGreen { .. } => of_targets(fact),
        Fact::Frozen { .. }
        | Fact::Paused { .. }
        | Fact::Resumed { .. }
        | Fact::Unfrozen { .. }
        | Fact::Stalled { .. }
        | Fact::WentOn { .. }
        | Fact::PressureSet { .. } => of_stops(fact),
        Fact::Refused { .. }
        | Fact::ReviewRefused { .. }
        | Fact::Reviewed { .. }
        | Fact::Compared { .. }
        | Fact::DefinitionsRead { .. }
        | Fact::Intended { .. }
        | Fact::IntentWithdrawn { .. } => of_words(fact),
        Fact::Stacked { .. } | Fact::Assembled { .. } | Fact::RolledUp { .. } => {}
    }
}

/// What became of requests.
fn of_requests(fact: &Fact) {
    match fact {
        Fact::Announced { request, announcement: a, target, .. } => {
            let _span = tracing::info_span!("request", id = %request).entered();
            tracing::info!(agent = %a.agent, branch = %a.branch, requirement = %a.requirement, %target, "announced");
        }
        Fact::Repeated { request, of } => of_request(*request, || tracing::info!(%of, "known already")),
        Fact::Pinned { request, head, position, size, .. } => of_request(*request, || {
            tracing::info!(%head, position, files = size.files, lines = size.lines, "queued");
        }),
        Fact::Landed { request, commit, .. } => of_request(*request, || {
            tracing::info!(commit = commit.map(|c| c.to_string()), "landed");
        }),
        Fact::Failed { request, failure } => of_request(*request, || {
            tracing::info!(cause = ?failure.cause, why = %failure.evidence.message, "failed");
        }),
        Fact::Withdrawn { request, by, .. } => of_request(*request, || tracing::info!(by, "withdrawn")),
        Fact::Superseded { request, by } => of_request(*request, || tracing::info!(%by, "superseded")),
        Fact::Blocked { request, blockers } => of_request(*request, || {
            tracing::info!(
                reasons = blockers.len(),
                first = blockers.first().map(|b| b.reason.as_str()),
                "blocked"
            );
        }),
        Fact::Promoted { request, who, why, .. } => of_request(*request, || {
            tracing::info!(who, why, "moved to the front");
        }),
        Fact::Displaced { request, by } => of_request(*request, || tracing::info!(%by, "gives up its place")),
        Fact::Amended { request, .. } => {
            of_request(*request, || tracing::info!("announced with other words"));
        }
        _ => {}
    }
}

/// What was tested.
fn of_runs(fact: &Fact) {
    match fact {
        Fact::Testing { request, run, behind, attempt, .. } => of_request(*request, || {
            tracing::info!(%run, behind = behind.len(), attempt, "testing");
        }),
        Fact::RunEnded { run, outcome, ms, .. } => {
            tracing::info!(%run, verdict = word(outcome), ms, "run ended");
        }
        Fact::RunDropped { run } => tracing::info!(%run, "run called off"),
        Fact::CandidatesLost { commits } => {
            tracing::warn!(commits = commits.len(), "candidates of another daemon are made again");
        }
        Fact::BaseTesting { target, run, commit, attempt, .. } => {
            tracing::info!(%target, %run, %commit, attempt, "testing the tip");
        }
        Fact::GatePassed { target, passed, .. } => {
            tracing::info!(%target, agent = %passed.agent, tree = %passed.tree, gate = %passed.gate, "gate passed elsewhere");
        }
        Fact::RunnersSeen { offers } => tracing::info!(groups = offers.len(), "what runners have"),
        Fact::Suspected { target, run, requests, .. } => {
            let requests: Vec<String> = requests.iter().map(ToString::to_string).collect();
            tracing::info!(%target, %run, requests = requests.join(" "), "red together");
        }
        Fact::Carried { request, run, tree, .. } => {
            of_request(*request, || tracing::info!(%run, %tree, "what was tested counts for this tree too"));
        }
        _ => {}
    }
}

/// What is so of a target, or of the remote.
fn of_targets(fact: &Fact) {
    match fact {
        Fact::TargetSeen { target, tip, movement, .. } => {
            tracing::info!(%target, %tip, ?movement, "target seen");
        }
        Fact::RemoteLost { why } => tracing::error!(why, "the remote does not answer"),
        Fact::RemoteBack => tracing::info!("the remote answers again"),
        Fact::LandingStarted { target, landing } => {
            tracing::info!(%target, to = %landing.to, requests = landing.requests.len(), "pushing");
        }
        Fact::LandingEnded { target, why, .. } => tracing::warn!(%target, why, "push came to nothing"),
        Fact::WindowSet { target, window } => tracing::debug!(%target, window, "window"),
        Fact::FellOff { target, from, requests } => {
            tracing::error!(%target, %from, requests = requests.len(), "landed work is not on the target any more");
        }
        Fact::TargetRed { target, commit, why, .. } => {
            tracing::warn!(%target, %commit, why, "the target is red");
        }
        Fact::TargetGreen { target, commit } => tracing::info!(%target, %commit, "the target is green again"),
        _ => {}
    }
}

/// What stands still, and what goes on.
fn of_stops(fact: &Fact) {
    match fact {
        // What may never be was found; or somebody meant it.
        Fact::Frozen { target, who, why } if FREEZERS.contains(&who.as_str()) => {
            tracing::error!(%target, who, why, "target frozen");
        }
        Fact::Frozen { target, who, why } => tracing::warn!(%target, who, why, "target frozen"),
        Fact::Paused { target, who, why, .. } => tracing::warn!(%target, who, why, "target paused"),
        Fact::Resumed { target, who, why } => tracing::info!(%target, who, why, "target resumed"),
        Fact::Unfrozen { target, who, why } => tracing::info!(%target, who, why, "target goes on"),
        Fact::Stalled { target, why } => tracing::error!(%target, why, "stalled"),
        Fact::PressureSet { pressure, pending } => tracing::info!(?pressure, pending, "pressure"),
        Fact::WentOn { target } => tracing::info!(%target, "goes on"),
        _ => {}
    }
}

/// What agents said and what was read.
fn of_words(fact: &Fact) {
    match fact {
        Fact::Refused { refusal, subject, .. } | Fact::ReviewRefused { refusal, subject, .. } => {
            tracing::warn!(subject, why = %refusal.message, "refused");
        }
        Fact::Reviewed { review, .. } => {
            tracing::info!(reviewer = %review.reviewer, head = %review.head, verdict = ?review.verdict, "reviewed");
        }
        Fact::Compared { target, requests, conflicts, with_tip, .. } => {
            let (new, pairs, hopeless) = (requests.len(), conflicts.len(), with_tip.len());
            tracing::debug!(%target, new, pairs, hopeless, "heads compared");
        }
        Fact::DefinitionsRead { target, requests, meetings, unread } => {
            let (new, meetings, left_out) = (requests.len(), meetings.len(), unread.len());
            tracing::debug!(%target, new, meetings, left_out, "definitions read");
        }
        Fact::Intended { target, intent, .. } => {
            tracing::debug!(%target, agent = %intent.agent, branch = %intent.branch, "intent");
        }
        Fact::IntentWithdrawn { agent, branch, .. } => tracing::debug!(%agent, %branch, "intent withdrawn"),
        _ => {}
    }
}

fn of_request(id: RequestId, told: impl FnOnce()) {
    tracing::info_span!("request", %id).in_scope(told);
}

fn word(outcome: &RunOutcome) -> &'static str {
    match outcome {
        RunOutcome::Green => "green",
        RunOutcome::Red { .. } => "red",
        RunOutcome::TimedOut { .. } => "timed out",
        RunOutcome::Cancelled => "cancelled",
        RunOutcome::Lost { .. } => "lost",
    }
}
