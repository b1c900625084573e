use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use yardmaster_protocol::{
    BlockerKind, BranchName, Change, ChangeSize, CommitId, Counterfactual, Inspection, IntakeSeq, Link,
    LinkKind, ObjectId, Priority, RequestId, TreeId, announce_subject,
};

use super::chain::Reading;
use super::{MAX_COMMAND, MAX_SENTENCE, cut, place_of};
use crate::failure::announce_again;
use crate::input::Input;
use crate::policy::Policy;
use crate::state::{Custody, Ending, Phase, Queue, Request};

/// Withdrawals that are tried out; each costs a copy of the queue.
const TRIED: usize = 6;
const TOLD: usize = 5;
/// With more pending requests than this, copies are expensive, and fewer are made.
const MANY: usize = 2_000;
const TRIED_OF_MANY: usize = 1;

/// Where a request stands on some copy of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outlook {
    position: u32,
    blocked: bool,
    next: bool,
}

impl Outlook {
    fn is_better_than(self, before: Outlook) -> bool {
        let (freed, closer) = (before.blocked && !self.blocked, self.position < before.position);
        (self.next && !before.next) || freed || (closer && !self.blocked)
    }
}

impl Queue {
    /// What would bring a request forward: each tried out by `step` on a copy, and told only if it does.
    pub(super) fn what_if(&self, id: RequestId, reading: &Reading, chain: &[Link]) -> Vec<Counterfactual> {
        let is_landing = chain.first().is_none_or(|l| l.kind == LinkKind::Landing);
        let Some(live) = self.live.get(&id).filter(|r| !is_landing && r.custody().is_some()) else {
            return Vec::new();
        };
        // Most of what is only remembered is left behind once, and not with every copy.
        let lean = self.lean_copy(&live.announcement.branch);
        lean.all_that_helps(id, live, reading, chain)
    }

    fn all_that_helps(
        &self,
        id: RequestId,
        live: &Request,
        reading: &Reading,
        chain: &[Link],
    ) -> Vec<Counterfactual> {
        let Some(before) = self.outlook(id, reading.policy) else { return Vec::new() };
        let mut found: Vec<(Outlook, Counterfactual)> = Vec::new();
        if !before.next {
            let others = self.candidates(id, reading, chain).into_iter();
            found.extend(others.filter_map(|other| self.without(id, other, before, reading)));
            found.extend(self.with_priority(id, live, before, reading));
            found.extend(self.moved_to_the_front(id, before, reading));
        }
        found.extend(chain.first().and_then(|link| self.rebased(id, live, link, before, reading)));
        found.sort_by_key(|(after, told)| {
            (Reverse(after.next), after.blocked, after.position, told.sentence.clone())
        });
        // Everybody ahead is one place: that is worth telling once.
        let one_place = |(after, told): &(Outlook, Counterfactual)| {
            let is_withdrawal = matches!(told.change, Change::Withdraw { .. });
            is_withdrawal && !after.next && !before.blocked && after.position + 1 == before.position
        };
        let mut seen = false;
        found.retain(|one| !one_place(one) || !std::mem::replace(&mut seen, true));
        found.into_iter().take(TOLD).map(|(_, told)| told).collect()
    }

    /// The same queue, but without ended requests that nobody waits for and verdicts on trees that nobody has: the
    /// planner decides the same. A branch that is announced again is compared with what ended of it.
    fn lean_copy(&self, branch: &BranchName) -> Queue {
        let mut copy = self.clone();
        let needs = self.live.values().flat_map(|r| &r.announcement.depends_on);
        let names: BTreeSet<&str> = needs.map(String::as_str).collect();
        let mut kept = BTreeSet::new();
        for (id, ended) in self.ended.iter() {
            let a = &ended.announcement;
            let by_name = names.contains(a.requirement.as_str()) || names.contains(a.branch.as_str());
            // Whoever replaced one that is needed is needed in its place, and has a higher id.
            if by_name || a.branch == *branch || kept.contains(id) || names.contains(id.to_string().as_str())
            {
                kept.insert(*id);
                kept.extend(if let Ending::Superseded { by } = &ended.ending { Some(*by) } else { None });
            }
        }
        let ended = kept.iter().filter_map(|id| Some((*id, self.ended.get(id)?.clone())));
        copy.ended = Arc::new(ended.collect());
        copy.forget_index_of_ended();
        kept.iter().for_each(|id| copy.index_ended(*id));
        for target in copy.targets.values_mut() {
            let made = target.assemblies.values().filter_map(|a| a.candidate().map(|(_, tree)| tree));
            let trees: BTreeSet<TreeId> = made.chain(target.tree).collect();
            target.verdicts.retain(|(tree, _), _| trees.contains(tree));
        }
        copy
    }

    fn outlook(&self, id: RequestId, policy: &Policy) -> Option<Outlook> {
        let live = self.live.get(&id)?;
        let position = place_of(&self.landing_order(&live.target, policy), id)?;
        let walk = self.walk(&live.target, policy);
        let row = self.row(id, Some(position), walk.as_ref(), self.now)?;
        let blocked = row.state == "blocked";
        let is_first = walk.and_then(|w| Some(w.places.first()?.request == id)).unwrap_or(false);
        let next = is_first && !blocked && self.hold(&live.target, policy).is_none();
        Some(Outlook { position, blocked, next })
    }

    /// Requests whose withdrawal is tried out: those in the chain, then those in front.
    fn candidates(&self, id: RequestId, reading: &Reading, chain: &[Link]) -> Vec<RequestId> {
        let most = if self.live.len() > MANY { TRIED_OF_MANY } else { TRIED };
        let ahead = reading.order.iter().take_while(|r| **r != id).copied();
        let (mut found, in_chain): (Vec<RequestId>, _) = (Vec::new(), chain.iter().filter_map(|l| l.request));
        for other in in_chain.chain(ahead) {
            let Some(live) = self.live.get(&other).filter(|_| other != id && !found.contains(&other)) else {
                continue;
            };
            if !self.targets.get(&live.target).is_some_and(|t| t.is_landing(other)) {
                found.push(other);
            }
            if found.len() == most {
                break;
            }
        }
        found
    }

    fn without(
        &self,
        id: RequestId,
        other: RequestId,
        before: Outlook,
        reading: &Reading,
    ) -> Option<(Outlook, Counterfactual)> {
        let mut copy = self.clone();
        copy.step(
            reading.now,
            reading.policy,
            Input::Withdraw { request: other, by: "a question".to_owned() },
        );
        let after = copy.outlook(id, reading.policy).filter(|after| after.is_better_than(before))?;
        let when = format!("if {} is withdrawn", self.called(other));
        let command = format!("yardmaster withdraw {other} --by NAME");
        Some((after, told(id, Change::Withdraw { withdrawn: other }, before, after, &when, &command)))
    }

    /// Moved to the front by an operator, with what it depends on.
    fn moved_to_the_front(
        &self,
        id: RequestId,
        before: Outlook,
        reading: &Reading,
    ) -> Option<(Outlook, Counterfactual)> {
        let mut copy = self.clone();
        let (who, why) = ("a question".to_owned(), String::new());
        copy.step(reading.now, reading.policy, Input::Promote { requests: vec![id], who, why });
        let after = copy.outlook(id, reading.policy).filter(|after| after.is_better_than(before))?;
        let command = format!("yardmaster promote {id} --by NAME");
        Some((after, told(id, Change::Promote, before, after, "if an operator promotes it", &command)))
    }

    /// Taken back and announced again as the most urgent class: it loses its age.
    fn with_priority(
        &self,
        id: RequestId,
        live: &Request,
        before: Outlook,
        reading: &Reading,
    ) -> Option<(Outlook, Counterfactual)> {
        let Phase::Waiting(custody) = &live.phase else { return None };
        let priority = Priority::INFRASTRUCTURE;
        if before.blocked || live.announcement.class() <= priority {
            return None;
        }
        let mut copy = self.clone();
        let by = live.announcement.agent.to_string();
        copy.step(reading.now, reading.policy, Input::Withdraw { request: id, by: by.clone() });
        let more = |a: &mut yardmaster_protocol::Announcement| a.priority = Some(priority);
        let new = copy.announced_again(live, custody.clone(), reading, more)?;
        let after = copy.outlook(new, reading.policy).filter(|after| after.is_better_than(before))?;
        let when = format!("if it is taken back and announced again with priority {}", priority.0);
        let again = announce_again(live);
        let command = format!("yardmaster withdraw {id} --by {by} && {again} --priority {}", priority.0);
        let change = Change::Priority { priority: priority.0 };
        Some((after, told(id, change, before, after, &when, &command)))
    }

    /// Merged with what it conflicts with, and announced again: it comes after that one, and not beside it.
    fn rebased(
        &self,
        id: RequestId,
        live: &Request,
        link: &Link,
        before: Outlook,
        reading: &Reading,
    ) -> Option<(Outlook, Counterfactual)> {
        if link.kind != LinkKind::Blocked(BlockerKind::TextualConflict) {
            return None;
        }
        let other: RequestId = link.with.as_ref()?.parse().ok()?;
        let (own, theirs) = (live.custody()?, self.live.get(&other)?.custody()?);
        let over = theirs.head;
        let custody = Custody {
            head: unheard_of(own.head),
            merge_base: own.merge_base,
            size: ChangeSize {
                lines: own.size.lines.saturating_add(theirs.size.lines),
                files: own.size.files.saturating_add(theirs.size.files),
            },
            files: Arc::new(own.files.iter().chain(theirs.files.iter()).cloned().collect()),
        };
        let mut copy = self.clone();
        let depends = |a: &mut yardmaster_protocol::Announcement| a.depends_on.push(other.to_string());
        let new = copy.announced_again(live, custody, reading, depends)?;
        let after = copy.outlook(new, reading.policy).filter(|after| !after.blocked)?;
        let action = self.over(live, other)?;
        let when =
            format!("if it is merged with {} ({other}) and announced again, depending on that", over.short());
        Some((after, told(id, Change::Rebase { over, of: other }, before, after, &when, &action.command)))
    }

    /// Announces the branch of `live` once more, as an agent would, and takes it into custody.
    fn announced_again(
        &mut self,
        live: &Request,
        custody: Custody,
        reading: &Reading,
        change: impl Fn(&mut yardmaster_protocol::Announcement),
    ) -> Option<RequestId> {
        let mut announcement = (*live.announcement).clone();
        announcement.commit = Some(custody.head);
        announcement.target = Some(live.target.clone());
        announcement.extra.clear();
        change(&mut announcement);
        let message = serde_json::json!({"type": "ready_to_merge", "merge_info": announcement});
        let last = self.last_request;
        let input = Input::Message {
            intake: IntakeSeq(u64::MAX),
            subject: announce_subject(&announcement.agent),
            // Later than all that ended: nothing of it is taken for a repetition.
            published: reading.now.max(yardmaster_protocol::Millis(self.latest.0.saturating_add(1))),
            traceparent: None,
            payload: message.to_string().into_bytes(),
        };
        self.step(reading.now, reading.policy, input);
        let new = RequestId(self.last_request);
        if self.last_request == last {
            return None;
        }
        let Custody { head, merge_base, size, files } = custody;
        let files = Arc::unwrap_or_clone(files);
        let found = Inspection::Pinned { head, merge_base, size, files, contained: false };
        self.step(reading.now, reading.policy, Input::Inspected(vec![(new, found)]));
        self.live.contains_key(&new).then_some(new)
    }
}

fn told(
    id: RequestId,
    change: Change,
    before: Outlook,
    after: Outlook,
    when: &str,
    command: &str,
) -> Counterfactual {
    let Outlook { position, blocked, next } = after;
    let then = match (next, before.blocked && !blocked) {
        (true, _) => format!("{id} lands next"),
        (false, true) => format!("{id} is no longer blocked, at {position}"),
        (false, false) => format!("{id} is at {position} instead of {}", before.position),
    };
    Counterfactual {
        change,
        sentence: cut(&format!("{then}, {when}"), MAX_SENTENCE),
        position,
        blocked,
        lands_next: next,
        command: cut(command, MAX_COMMAND),
    }
}

/// A head that nobody has announced.
fn unheard_of(head: CommitId) -> CommitId {
    CommitId(ObjectId(head.0.0.map(|byte| !byte)))
}
