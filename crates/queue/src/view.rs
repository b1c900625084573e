use yardmaster_protocol::{
    Blocker, BranchName, Millis, QueueReply, RequestId, RequestRow, RequestView, RunId, TargetView,
};

use crate::policy::Policy;
use crate::promote::Promoted;
use crate::state::{Ended, Ending, Phase, Queue, Request, Target};
use crate::walk::{Place, Standing, Walk};

const ROWS: usize = 1_000;
const ENDED_ROWS: usize = 20;
const FILES_SHOWN: usize = 100;

impl Queue {
    /// The whole queue, for people and agents.
    pub fn overview(&self, now: Millis, policy: &Policy) -> QueueReply {
        let mut requests = Vec::new();
        for name in self.targets.keys() {
            let walk = self.walk(name, policy);
            let order = self.landing_order(name, policy).into_iter().enumerate();
            let rows = order.filter_map(|(i, id)| self.row(id, Some(position(i)), walk.as_ref(), now));
            requests.extend(rows.take(ROWS.saturating_sub(requests.len())));
            let arriving = self.index.arriving.values().filter_map(|id| Some((*id, self.live.get(id)?)));
            let arriving = arriving.filter(|(_, r)| r.target == *name);
            let rows = arriving.filter_map(|(id, _)| self.row(id, None, None, now));
            requests.extend(rows.take(ROWS.saturating_sub(requests.len())));
        }
        let mut ended: Vec<(&RequestId, &Ended)> = self.ended.iter().collect();
        let newest = |(id, e): &(&RequestId, &Ended)| std::cmp::Reverse((e.at, **id));
        if ended.len() > ENDED_ROWS {
            ended.select_nth_unstable_by_key(ENDED_ROWS, newest);
            ended.truncate(ENDED_ROWS);
        }
        ended.sort_by_key(newest);
        QueueReply {
            targets: self.target_views(policy),
            requests,
            ended: ended.into_iter().map(|(id, e)| ended_row(*id, e)).collect(),
            pressure: self.pressure(policy),
            runners: Vec::new(),
        }
    }

    /// Every target as a line.
    pub fn target_views(&self, policy: &Policy) -> Vec<TargetView> {
        let pending = |name: &BranchName| self.live.values().filter(|r| r.target == *name).count();
        let view = |name: &BranchName| {
            let target = self.targets.get(name);
            let (tip_health, tip_note) = self.tip_health(name, policy);
            TargetView {
                target: name.clone(),
                tip: target.and_then(|t| t.tip),
                gate: target.and_then(|t| t.gate(policy).ok()).map(|g| g.id()),
                window: target.map_or(policy.window_max, |t| t.window(policy)),
                pending: count(pending(name)),
                testing: count(target.map_or(0, |t| t.runs.len())),
                hold: self.hold(name, policy),
                tip_health,
                tip_note,
                flaky: target.map(|t| t.flakes.told()).unwrap_or_default(),
                runner_note: self.runner_note(name, policy),
            }
        };
        policy.targets.iter().map(view).collect()
    }

    /// Landed and failed since the journal began.
    pub fn totals(&self) -> (u64, u64) {
        (self.counts.landed, self.counts.failed)
    }

    /// The request that a person means: an id, or the newest of a branch or requirement.
    pub fn find(&self, what: &str) -> Option<RequestId> {
        if let Ok(id) = what.parse::<RequestId>() {
            return (self.live.contains_key(&id) || self.ended.contains_key(&id)).then_some(id);
        }
        let live = self.index.by_name.get(what).and_then(|ids| ids.last().copied());
        let named =
            |e: &Ended| e.announcement.branch.as_str() == what || e.announcement.requirement.as_str() == what;
        live.or_else(|| self.ended.iter().rev().find(|(_, e)| named(e)).map(|(id, _)| *id))
    }

    /// One request with everything that is known of it.
    pub fn request(&self, id: RequestId, now: Millis, policy: &Policy) -> Option<RequestView> {
        match (self.live.get(&id), self.ended.get(&id)) {
            (Some(live), _) => Some(self.live_view(id, live, now, policy)),
            (None, Some(ended)) => Some(ended_view(id, ended)),
            (None, None) => None,
        }
    }

    fn live_view(&self, id: RequestId, live: &Request, now: Millis, policy: &Policy) -> RequestView {
        let walk = self.walk(&live.target, policy);
        let order = self.landing_order(&live.target, policy);
        let place = order.iter().position(|r| *r == id).map(position);
        let (candidate, run) = self.latest_run(id, live, walk.as_ref());
        let files = live.custody().map(|c| c.files.iter().take(FILES_SHOWN).cloned().collect());
        RequestView {
            row: self.row(id, place, walk.as_ref(), now).unwrap_or_else(|| bare_row(id, live, now)),
            target: live.target.clone(),
            head: live.head(),
            files: files.unwrap_or_default(),
            blockers: live.blockers.clone(),
            candidate,
            run,
            commit: None,
            failure: None,
        }
    }

    fn latest_run(
        &self,
        id: RequestId,
        live: &Request,
        walk: Option<&Walk>,
    ) -> (Option<yardmaster_protocol::CommitId>, Option<RunId>) {
        let Some(target) = self.targets.get(&live.target) else { return (None, None) };
        if let Some((run, asked)) = target.runs.iter().find(|(_, r)| r.request == Some(id)) {
            return (Some(asked.candidate), Some(run.clone()));
        }
        let verdict = target.verdicts.values().filter(|v| v.request == Some(id)).max_by_key(|v| v.at);
        let candidate = walk.and_then(|w| w.place(id)).and_then(|p| match p.standing {
            Standing::Untested { commit, .. } | Standing::Green { commit, .. } => Some(commit),
            _ => None,
        });
        (candidate.or(verdict.map(|v| v.candidate)), verdict.map(|v| v.run.clone()))
    }

    pub(crate) fn row(
        &self,
        id: RequestId,
        place: Option<u32>,
        walk: Option<&Walk>,
        now: Millis,
    ) -> Option<RequestRow> {
        let live = self.live.get(&id)?;
        let (state, note) = self.state_of(id, live, walk);
        let promoted = live.promoted.as_ref().map(Promoted::told);
        Some(RequestRow {
            state: state.to_owned(),
            note,
            position: place,
            promoted,
            ..bare_row(id, live, now)
        })
    }

    fn state_of(&self, id: RequestId, live: &Request, walk: Option<&Walk>) -> (&'static str, String) {
        if let Some(blocker) = live.blockers.first() {
            return ("blocked", blocker.reason.clone());
        }
        if live.phase == Phase::Arriving {
            return ("arriving", "its head is being fetched".to_owned());
        }
        if self.targets.get(&live.target).is_some_and(|t| t.is_landing(id)) {
            return ("landing", "green, being pushed".to_owned());
        }
        let Some(place) = walk.and_then(|w| w.place(id)) else {
            return ("queued", "waits for its turn".to_owned());
        };
        let ahead = ahead_of(place);
        match &place.standing {
            Standing::Unassembled => ("assembling", String::new()),
            Standing::Untested { .. } if self.is_with(live, walk, place).is_some() => {
                let other = self.is_with(live, walk, place).map(|r| r.to_string()).unwrap_or_default();
                ("testing", format!("in one run with {other}"))
            }
            Standing::Untested { .. } => {
                ("testing", if ahead.is_empty() { String::new() } else { format!("on top of {ahead}") })
            }
            Standing::Green { .. } => {
                ("green", if ahead.is_empty() { String::new() } else { format!("waits for {ahead} to land") })
            }
            Standing::Conflict => ("blocked", format!("does not merge on top of {ahead}")),
            Standing::Red { .. } if place.is_settled() => {
                ("blocked", format!("red on top of `{}`, which is tested by itself now", live.target))
            }
            Standing::Red { .. } | Standing::RedTogether { .. } | Standing::GivenUp { .. } => {
                ("blocked", format!("red on top of {ahead}"))
            }
            Standing::Held => ("blocked", "it may not land".to_owned()),
            Standing::Excused => ("blocked", format!("`{}` itself is red", live.target)),
            Standing::Without(other) => ("blocked", format!("depends on {other}")),
        }
    }
}

impl Queue {
    /// In whose run a request is tested.
    fn is_with(&self, live: &Request, walk: Option<&Walk>, place: &Place) -> Option<RequestId> {
        Some(self.targets.get(&live.target)?.run_with(place, walk?)?.0)
    }
}

impl Target {
    /// The one above in whose run it is tested, where it has none of its own.
    pub(crate) fn run_with(&self, place: &Place, walk: &Walk) -> Option<(RequestId, &RunId)> {
        if self.is_running(place, walk) {
            return None;
        }
        let above = walk.places.iter().skip_while(|p| p.request != place.request).skip(1);
        let found = above.filter(|p| p.behind.contains(&place.request)).find(|p| self.is_running(p, walk))?;
        let Standing::Untested { tree, .. } = found.standing else { return None };
        let run = self.runs.iter().find(|(_, r)| r.tree == tree)?.0;
        Some((found.request, run))
    }
}

impl Walk {
    pub(crate) fn place(&self, id: RequestId) -> Option<&Place> {
        self.places.iter().find(|p| p.request == id)
    }
}

pub(crate) fn ahead_of(place: &Place) -> String {
    let names: Vec<String> = place.behind.iter().rev().take(3).rev().map(ToString::to_string).collect();
    let more = place.behind.len().saturating_sub(3);
    if more > 0 { format!("{more} more, {}", names.join(", ")) } else { names.join(", ") }
}

fn bare_row(id: RequestId, live: &Request, now: Millis) -> RequestRow {
    let a = &live.announcement;
    RequestRow {
        request: id,
        agent: a.agent.clone(),
        branch: a.branch.clone(),
        requirement: a.requirement.clone(),
        state: "queued".to_owned(),
        position: None,
        note: String::new(),
        waited_ms: now.since(live.arrived),
        promoted: None,
    }
}

pub(crate) fn ended_row(id: RequestId, ended: &Ended) -> RequestRow {
    let a = &ended.announcement;
    let (state, note) = match &ended.ending {
        Ending::Landed { commit: Some(commit), .. } => ("landed", format!("as {}", commit.short())),
        Ending::Landed { commit: None, .. } => ("landed", "nothing to merge".to_owned()),
        Ending::Failed { failure } => {
            ("failed", failure.evidence.message.lines().next().unwrap_or_default().to_owned())
        }
        Ending::Withdrawn { by } => ("withdrawn", format!("by {by}")),
        Ending::Superseded { by } => ("superseded", format!("by {by}")),
    };
    RequestRow {
        request: id,
        agent: a.agent.clone(),
        branch: a.branch.clone(),
        requirement: a.requirement.clone(),
        state: state.to_owned(),
        position: None,
        note,
        waited_ms: ended.at.since(ended.arrived),
        promoted: None,
    }
}

fn ended_view(id: RequestId, ended: &Ended) -> RequestView {
    let blockers: Vec<Blocker> = Vec::new();
    let (commit, run, failure) = match &ended.ending {
        Ending::Landed { commit, run } => (*commit, run.clone(), None),
        Ending::Failed { failure } => (None, failure.evidence.log.clone(), Some((**failure).clone())),
        Ending::Withdrawn { .. } | Ending::Superseded { .. } => (None, None, None),
    };
    RequestView {
        row: ended_row(id, ended),
        target: ended.target.clone(),
        head: ended.head,
        files: ended.files.as_ref().clone(),
        blockers,
        candidate: failure.as_ref().and_then(|f| f.evidence.candidate),
        run,
        commit,
        failure,
    }
}

pub(crate) fn position(index: usize) -> u32 {
    count(index + 1)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
