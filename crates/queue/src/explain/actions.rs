use yardmaster_protocol::{Action, ActionKind, BlockerKind, Link, LinkKind, RequestId};

use super::{MAX_COMMAND, MAX_SENTENCE, cut};
use crate::failure::{announce_again, quoted};
use crate::state::{Ending, Queue, Request};

const MAX_ACTIONS: usize = 8;

impl Queue {
    /// What helps, read from the links: of the request itself first, then of what is behind it.
    pub(super) fn actions(&self, id: RequestId, chain: &[Link]) -> Vec<Action> {
        let mut found: Vec<Action> = Vec::new();
        for (i, link) in chain.iter().enumerate() {
            found.extend(self.helps(link, i == 0));
        }
        if self.live.contains_key(&id) {
            let why = format!("tells when {id} has landed or failed");
            found.push(action(ActionKind::Wait, format!("yardmaster wait {id}"), why));
        }
        let mut told: Vec<Action> = Vec::new();
        for one in found {
            if told.len() < MAX_ACTIONS && told.iter().all(|t| t.command != one.command) {
                told.push(one);
            }
        }
        told
    }

    fn helps(&self, link: &Link, is_own: bool) -> Vec<Action> {
        let live = link.request.and_then(|id| self.live.get(&id));
        match link.kind {
            LinkKind::Testing | LinkKind::Suspected => read(link),
            LinkKind::Ended if is_own => self.after_the_end(link),
            LinkKind::Frozen | LinkKind::RemoteLost | LinkKind::TargetUnusable => hold(link),
            LinkKind::Blocked(kind) => match (live, kind) {
                (Some(live), kind) => self.unblocks(kind, link, live, is_own),
                (None, BlockerKind::Runner) => start_a_runner(link),
                (None, _) => Vec::new(),
            },
            LinkKind::Ended
            | LinkKind::Arriving
            | LinkKind::Turn
            | LinkKind::Merging
            | LinkKind::Ahead
            | LinkKind::Landing => Vec::new(),
        }
    }

    fn unblocks(&self, kind: BlockerKind, link: &Link, live: &Request, is_own: bool) -> Vec<Action> {
        let other = link.with.as_ref().and_then(|w| w.parse::<RequestId>().ok());
        match kind {
            BlockerKind::TextualConflict if is_own => {
                other.and_then(|other| self.over(live, other)).into_iter().collect()
            }
            BlockerKind::Dependency if other.is_none_or(|other| !self.live.contains_key(&other)) => {
                announce_missing(link, live)
            }
            BlockerKind::Cycle => {
                let id = link.request.unwrap_or(RequestId(0));
                let why = "cuts the cycle; then announce it again without that dependency";
                let by = &live.announcement.agent;
                vec![action(ActionKind::Withdraw, format!("yardmaster withdraw {id} --by {by}"), why)]
            }
            BlockerKind::TargetRed => {
                let run = link.sentence.split_once("`yardmaster logs ").and_then(|(_, r)| r.split_once('`'));
                let why = format!("says what is red on `{}`; whoever mends it announces that", live.target);
                run.map(|(run, _)| action(ActionKind::Read, format!("yardmaster logs {run}"), why))
                    .into_iter()
                    .collect()
            }
            BlockerKind::Runner => start_a_runner(link),
            BlockerKind::TextualConflict
            | BlockerKind::SemanticConflict
            | BlockerKind::Overlap
            | BlockerKind::Dependency
            | BlockerKind::Scope
            | BlockerKind::Review
            | BlockerKind::Hold => Vec::new(),
        }
    }

    /// Merging with what one conflicts with, and depending on it.
    pub(super) fn over(&self, live: &Request, other: RequestId) -> Option<Action> {
        let ahead = self.live.get(&other)?;
        let head = ahead.head()?;
        let command = format!(
            "git fetch origin && git switch {} && git merge {head} && git push origin {} && {} --depends-on {other}",
            live.announcement.branch,
            live.announcement.branch,
            announce_again(live)
        );
        let why = format!(
            "puts it on top of {other} ({}), whose head that is, instead of beside it",
            ahead.label()
        );
        Some(action(ActionKind::Mend, command, why))
    }

    fn after_the_end(&self, link: &Link) -> Vec<Action> {
        let Some((id, ended)) = link.request.and_then(|id| Some((id, self.ended.get(&id)?))) else {
            return Vec::new();
        };
        match &ended.ending {
            Ending::Failed { failure } => {
                let step = |command: &String| action(ActionKind::Mend, command, "");
                failure.next.iter().map(step).collect()
            }
            Ending::Superseded { by } => {
                let why = format!("{by} is the same branch with a newer head");
                vec![action(ActionKind::Read, format!("yardmaster explain {by}"), why)]
            }
            Ending::Withdrawn { .. } => vec![again(id, ended)],
            Ending::Landed { .. } if ended.fell_off => vec![again(id, ended)],
            Ending::Landed { .. } => Vec::new(),
        }
    }
}

fn again(id: RequestId, ended: &crate::state::Ended) -> Action {
    let a = &ended.announcement;
    let command = format!(
        "yardmaster submit {} --agent {} --requirement {}",
        quoted(a.branch.as_str()),
        a.agent,
        quoted(a.requirement.as_str())
    );
    action(ActionKind::Announce, command, format!("offers what {id} had once more"))
}

fn announce_missing(link: &Link, live: &Request) -> Vec<Action> {
    let Some(name) = &link.with else { return Vec::new() };
    let id = link.request.unwrap_or(RequestId(0));
    let by = &live.announcement.agent;
    vec![
        action(
            ActionKind::Announce,
            format!("yardmaster submit BRANCH --agent NAME --requirement {}", quoted(name)),
            format!("announces `{name}`, if that is a requirement; if it is a branch, submit that branch"),
        ),
        action(
            ActionKind::Withdraw,
            format!("yardmaster withdraw {id} --by {by} && {}", announce_again(live)),
            "offers it again without that dependency, if it was named by mistake",
        ),
    ]
}

fn start_a_runner(link: &Link) -> Vec<Action> {
    let until = link.until.as_deref().unwrap_or_default();
    let Some((_, command)) = until.trim_end_matches('`').split_once('`') else { return Vec::new() };
    let why = "on a machine that has it, with --nats-url and --remote: takes what waits at once; or change what \
               the gate's steps need in `.yardmaster.toml` on the target";
    vec![action(ActionKind::Repair, command, why)]
}

fn read(link: &Link) -> Vec<Action> {
    let run = link.run.as_ref().map(|run| format!("yardmaster logs {run} --follow"));
    run.map(|command| action(ActionKind::Read, command, "shows what the gate prints")).into_iter().collect()
}

fn hold(link: &Link) -> Vec<Action> {
    let (kind, command, why) = match link.kind {
        LinkKind::Frozen => {
            let command = link.until.as_deref().unwrap_or_default().trim_matches('`').to_owned();
            (ActionKind::Unfreeze, format!("{command} --by NAME"), "for operators, when the reason is gone")
        }
        LinkKind::RemoteLost => (
            ActionKind::Repair,
            "yardmaster status".to_owned(),
            "names the remote: see whether it answers; the daemon tries again by itself",
        ),
        _ => (
            ActionKind::Repair,
            "yardmaster status".to_owned(),
            "says what is wrong with the target; it is mended by a push to it, and noticed by itself",
        ),
    };
    vec![action(kind, command, why)]
}

fn action(kind: ActionKind, command: impl AsRef<str>, why: impl AsRef<str>) -> Action {
    Action { kind, command: cut(command.as_ref(), MAX_COMMAND), why: cut(why.as_ref(), MAX_SENTENCE) }
}
