use std::collections::{BTreeMap, BTreeSet};

use yardmaster_protocol::{
    Blocker, BlockerKind, BranchName, Independence, Link, LinkKind, Millis, RequestId, RunId,
};

use super::{MAX_SENTENCE, cut, needs_a_hand, place_of};
use crate::policy::Policy;
use crate::state::{Ended, Ending, Phase, Queue, Request, Run, Target};
use crate::view::ahead_of;
use crate::walk::{Place, Standing, Walk};

const MAX_LINKS: usize = 12;
const MAX_PATHS: usize = 5;
const MAX_PATH: usize = 120;

/// A queue as it is read for one explanation.
pub(super) struct Reading<'a> {
    pub(super) queue: &'a Queue,
    pub(super) policy: &'a Policy,
    pub(super) now: Millis,
    pub(super) name: BranchName,
    pub(super) order: Vec<RequestId>,
    walks: BTreeMap<BranchName, Option<Walk>>,
}

/// A link, and the request whose reason comes next.
type Step = (Link, Option<RequestId>);

impl<'a> Reading<'a> {
    pub(super) fn new(queue: &'a Queue, name: &BranchName, now: Millis, policy: &'a Policy) -> Reading<'a> {
        let walks = queue.targets.keys().map(|name| (name.clone(), queue.walk(name, policy))).collect();
        let order = queue.landing_order(name, policy);
        Reading { queue, policy, now, name: name.clone(), order, walks }
    }

    pub(super) fn walk(&self) -> Option<&Walk> {
        self.walk_of(&self.name)
    }

    fn walk_of(&self, name: &BranchName) -> Option<&Walk> {
        self.walks.get(name).and_then(Option::as_ref)
    }

    /// Its place in the order of its target, from 1.
    pub(super) fn place(&self, id: RequestId) -> Option<u32> {
        place_of(&self.order, id)
    }

    /// From a request back to something that can be acted on. No request comes twice.
    pub(super) fn chain(&self, id: RequestId) -> Vec<Link> {
        let (mut links, mut seen) = (Vec::new(), BTreeSet::new());
        let mut next = Some(id);
        let mut target = self.name.clone();
        while let Some(id) = next.filter(|id| links.len() + 1 < MAX_LINKS && seen.insert(*id)) {
            if let Some(live) = self.queue.live.get(&id) {
                target = live.target.clone();
            }
            let Some((link, then)) = self.link(id) else { break };
            links.push(link);
            next = then;
        }
        let is_open = links.last().is_some_and(|l: &Link| !needs_a_hand(l.kind) && l.until.is_some());
        let waits_for_nobody =
            links.last().is_some_and(|l| l.kind == LinkKind::Blocked(BlockerKind::Dependency));
        let behind = || self.hold(&target).or_else(|| self.no_runner(&target));
        links.extend((is_open && !waits_for_nobody).then(behind).flatten());
        links.iter_mut().for_each(|link| link.sentence = cut(&link.sentence, MAX_SENTENCE));
        links
    }

    fn link(&self, id: RequestId) -> Option<Step> {
        let Some(live) = self.queue.live.get(&id) else {
            return self.queue.ended.get(&id).map(|ended| self.ended(id, ended));
        };
        let called = self.queue.called(id);
        if let Some(blocker) = self.first_blocker(live) {
            return Some(self.blocked(id, live, blocker, &called));
        }
        let target = self.queue.targets.get(&live.target)?;
        if live.phase == Phase::Arriving {
            let sentence = format!("the head of {called} is being fetched");
            return Some((link(id, LinkKind::Arriving, sentence, "its head is in custody"), None));
        }
        if target.is_landing(id) {
            let sentence = format!("{called} is green and is being pushed to `{}`", live.target);
            return Some((link(id, LinkKind::Landing, sentence, "the remote has answered"), None));
        }
        let walk = self.walk_of(&live.target);
        Some(match walk.and_then(|w| Some((w, w.place(id)?))) {
            Some((walk, place)) => self.stacked(target, &live.target, walk, place, &called),
            None => self.turn(id, live, target, walk, &called),
        })
    }

    /// The one to tell: what nobody in the queue can end by landing, else the one that lands last.
    fn first_blocker<'b>(&self, live: &'b Request) -> Option<&'b Blocker> {
        let blockers = live.blockers.iter().filter(|b| b.kind != BlockerKind::Hold);
        blockers.max_by_key(|b| match self.pending(b) {
            None => (true, 0),
            Some(other) => (false, self.place(other).unwrap_or(u32::MAX)),
        })
    }

    fn pending(&self, blocker: &Blocker) -> Option<RequestId> {
        let other: RequestId = blocker.with.as_ref()?.parse().ok()?;
        self.queue.live.contains_key(&other).then_some(other)
    }

    fn blocked(&self, id: RequestId, live: &Request, blocker: &Blocker, called: &str) -> Step {
        let others = live.blockers.iter().filter(|b| b.kind != BlockerKind::Hold).count().saturating_sub(1);
        let more = if others > 0 { format!(" (one of {} reasons)", others + 1) } else { String::new() };
        let room = MAX_SENTENCE.saturating_sub(called.chars().count() + more.chars().count() + 2);
        let sentence = format!("{called}: {}{more}", cut(&blocker.reason, room));
        let mut told = link(id, LinkKind::Blocked(blocker.kind), sentence, &blocker.until);
        told.with = blocker.with.as_ref().map(|with| cut(with, MAX_PATH));
        told.paths = blocker.paths.iter().take(MAX_PATHS).map(|p| cut(p, MAX_PATH)).collect();
        // A cycle is told whole, and ends where somebody cuts it.
        let then = self.pending(blocker).filter(|_| blocker.kind != BlockerKind::Cycle);
        (told, then)
    }

    fn stacked(&self, target: &Target, name: &BranchName, walk: &Walk, place: &Place, called: &str) -> Step {
        let (id, ahead) = (place.request, ahead_of(place));
        let on = if ahead.is_empty() { String::new() } else { format!(" on top of {ahead}") };
        let below = below(target, walk, id);
        match &place.standing {
            Standing::Unassembled => {
                let apart = target.independence() != Independence::None;
                let doing = if apart { "waits to be merged and tested" } else { "is being merged" };
                let sentence = format!("{called} {doing}{on}");
                (link(id, LinkKind::Merging, sentence, "its merge is known"), below)
            }
            Standing::Untested { tree, .. } => {
                let of_tree = || target.runs.iter().find(|(_, r)| r.tree == *tree);
                let together = target.run_with(place, walk);
                let run = together.and_then(|(_, run)| target.runs.get_key_value(run)).or_else(of_tree);
                let on = match together {
                    Some((other, _)) => format!(" in one run with {other}{on}"),
                    None => on,
                };
                let run = run.map(|(id, run)| (id, self.under_way(run)));
                let (doing, since) = match &run {
                    Some((_, since)) => ("is being tested", since.as_str()),
                    None => ("waits to be tested", ""),
                };
                let short = target.gate(self.policy).ok().and_then(|gate| self.queue.short(&gate));
                let short = short.map(|short| format!("; {short}")).unwrap_or_default();
                let sentence = format!("{called} {doing}{on}{since}{short}");
                let told = link(id, LinkKind::Testing, sentence, "its gate has ended");
                (Link { run: run.map(|(id, _)| id.clone()), ..told }, below)
            }
            Standing::Green { .. } => {
                let sentence = match below {
                    Some(_) => format!("{called} is green{on}, and what is below it has to land first"),
                    None => format!("{called} is green, and is pushed next"),
                };
                (link(id, LinkKind::Ahead, sentence, "it is pushed"), below)
            }
            Standing::Conflict => {
                let sentence = format!(
                    "{called} does not merge{on}; whether it merges with `{name}` alone is tried now"
                );
                (link(id, LinkKind::Merging, sentence, "its merge is known"), None)
            }
            Standing::Red { .. } | Standing::RedTogether { .. } | Standing::GivenUp { .. } => {
                self.suspected(target, name, place, called)
            }
            Standing::Without(_) | Standing::Excused | Standing::Held => {
                let sentence = format!("{called} waits for what it stands on");
                (link(id, LinkKind::Merging, sentence, "what it stands on has changed"), below)
            }
        }
    }

    fn suspected(&self, target: &Target, name: &BranchName, place: &Place, called: &str) -> Step {
        let tip = target.runs.iter().find(|(_, run)| run.request.is_none());
        let sentence = match tip {
            Some((_, run)) if place.is_settled() => format!(
                "{called} is red on top of `{name}`, which is tested by itself to know why{}",
                self.under_way(run)
            ),
            _ => format!("{called} is red on top of {}", ahead_or(place, name)),
        };
        let told = link(place.request, LinkKind::Suspected, sentence, "it is known whose fault that is");
        (Link { run: tip.map(|(id, _): (&RunId, _)| id.clone()), ..told }, place.behind.last().copied())
    }

    /// `: attempt 2, asked for 40 s ago`
    fn under_way(&self, run: &Run) -> String {
        let attempt = if run.attempt > 1 { format!(", attempt {}", run.attempt) } else { String::new() };
        let since = run.asked.map(|at| format!(", for {} s", self.now.since(at) / 1_000));
        format!("{attempt}{}", since.unwrap_or_default())
    }

    fn turn(
        &self,
        id: RequestId,
        live: &Request,
        target: &Target,
        walk: Option<&Walk>,
        called: &str,
    ) -> Step {
        let at = self.place(id).map(|at| format!(" at {at}")).unwrap_or_default();
        let window = target.window(self.policy);
        let front = walk.and_then(|w| w.places.iter().find(|p| !p.is_apart())).map(|p| p.request);
        let why = match front {
            Some(_) => format!(": `{}` tests {window} at a time, and those places are taken", live.target),
            None => String::new(),
        };
        let sentence = format!("{called} waits for its turn{at}{why}");
        (link(id, LinkKind::Turn, sentence, "a place becomes free and nobody better waits"), front)
    }

    fn ended(&self, id: RequestId, ended: &Ended) -> Step {
        let called = format!("{id} ({} by {})", ended.announcement.branch, ended.announcement.agent);
        let name = &ended.target;
        let (how, then) = match &ended.ending {
            Ending::Landed { .. } if ended.fell_off => {
                (format!("had landed, and `{name}` was moved back behind it"), None)
            }
            Ending::Landed { commit: Some(commit), .. } => {
                (format!("has landed on `{name}` as {}", commit.short()), None)
            }
            Ending::Landed { commit: None, .. } => {
                (format!("is on `{name}`: there was nothing to merge"), None)
            }
            Ending::Failed { failure } => {
                (format!("has failed: {}", in_one_line(&failure.evidence.message)), None)
            }
            Ending::Withdrawn { by } => (format!("was withdrawn by {by}"), None),
            Ending::Superseded { by } => (format!("was superseded by {by}"), Some(*by)),
        };
        let mut told = link(id, LinkKind::Ended, format!("{called} {how}"), "");
        told.until = None;
        if let Ending::Failed { failure } = &ended.ending {
            told.paths = failure.evidence.paths.iter().take(MAX_PATHS).map(|p| cut(p, MAX_PATH)).collect();
            told.with = failure.evidence.with.first().map(|with| cut(with, MAX_PATH));
            told.run.clone_from(&failure.evidence.log);
        }
        (told, then)
    }

    /// Why nothing is tested on a target: the end of a chain that no request ends.
    fn no_runner(&self, name: &BranchName) -> Option<Link> {
        let blocker = self.queue.runner_blocker(name, self.policy)?;
        let kind = LinkKind::Blocked(BlockerKind::Runner);
        let sentence = format!("nothing is tested on `{name}`: {}", blocker.reason);
        Some(Link { request: None, ..link(RequestId(0), kind, sentence, &blocker.until) })
    }

    /// Why nothing lands on a target.
    pub(super) fn hold(&self, name: &BranchName) -> Option<Link> {
        let why = self.queue.hold(name, self.policy)?;
        let target = self.queue.targets.get(name);
        let (kind, sentence, until) = if let Some(lost) = &self.queue.remote_lost {
            let says_so = lost.starts_with("the remote does not answer");
            let sentence = if says_so { lost.clone() } else { why };
            (LinkKind::RemoteLost, sentence, "the remote answers again".to_owned())
        } else if let Some(frozen) = target.and_then(|t| t.frozen.as_ref()) {
            let sentence = format!("`{name}` is frozen by {}: {}", frozen.who, frozen.why);
            (LinkKind::Frozen, sentence, format!("`yardmaster unfreeze {name}`"))
        } else if target.is_some_and(|t| t.tip.is_some()) {
            let until = format!("the gate can be read at the tip of `{name}`");
            (LinkKind::TargetUnusable, format!("nothing is tested on `{name}`: {why}"), until)
        } else {
            (LinkKind::TargetUnusable, format!("`{name}`: {why}"), "the remote shows it".to_owned())
        };
        Some(Link { request: None, ..link(RequestId(0), kind, sentence, &until) })
    }
}

/// The lowest one below `id` that is not known to land: what is above waits for it. Else whoever is being pushed.
fn below(target: &Target, walk: &Walk, id: RequestId) -> Option<RequestId> {
    let under = || walk.places.iter().take_while(|p| p.request != id).filter(|p| !p.is_apart());
    let open = under().find(|p| !matches!(p.standing, Standing::Green { .. }));
    let pushed = || under().find(|p| target.is_landing(p.request)).or_else(|| under().next());
    open.or_else(pushed).map(|p| p.request)
}

fn ahead_or(place: &Place, name: &BranchName) -> String {
    if place.is_settled() { format!("`{name}`") } else { ahead_of(place) }
}

/// Without the excerpts that show where in a file something is wrong: in one line they show nothing.
fn in_one_line(text: &str) -> String {
    let is_excerpt =
        |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !is_excerpt(line));
    lines.collect::<Vec<_>>().join("; ")
}

fn link(id: RequestId, kind: LinkKind, sentence: String, until: &str) -> Link {
    let until = Some(cut(until, MAX_SENTENCE));
    Link { request: Some(id), kind, sentence, with: None, paths: Vec::new(), run: None, until }
}

#[cfg(test)]
mod tests {
    use super::in_one_line;

    #[test]
    fn a_message_of_several_lines_is_told_in_one() {
        let text = "TOML parse error at line 2\n  |\n2 | rnu = \"true\"\n  | ^^^\nunknown field `rnu`\n\n  remote: no ";
        assert_eq!(in_one_line(text), "TOML parse error at line 2; unknown field `rnu`; remote: no");
    }
}
