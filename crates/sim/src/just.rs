use yardmaster_protocol::{Blame, Cause, CommitId, Failure, RequestId, TreeId};
use yardmaster_queue::BaseRed;

use crate::gate::change_region;
use crate::git::Files;
use crate::ledger::{End, Ledger, Record, Truth};
use crate::violation::Violation;

const RULE: &str = "nobody is failed for what is not so";

impl Ledger {
    /// A request, and those that land together with it or not at all.
    fn with_mates(&self, request: RequestId) -> impl Iterator<Item = &Record> {
        let unit = self.units.get(&request);
        let is_mate = move |id: &RequestId| *id == request || (unit.is_some() && self.units.get(id) == unit);
        self.requests.iter().filter(move |(id, _)| is_mate(id)).map(|(_, record)| record)
    }

    /// Whether a failure is true at this moment, by the truth that the queue cannot see.
    pub(crate) fn just(&self, truth: &Truth, request: RequestId, failure: &Failure) -> Result<(), Violation> {
        let Some(record) = self.requests.get(&request) else { return Ok(()) };
        let tested = failure.evidence.candidate.map(|c| truth.git.tree(c));
        let holds = match failure.cause {
            Cause::Conflict => self.conflicts_now(truth, record),
            Cause::GateRed | Cause::GateTimeout => {
                (self.is_red_now(truth, record, tested) || self.is_unit_red(truth, request, tested))
                    && (!self.base_is_red(truth, record)
                        || self.base_is_unknown(truth, record, failure.blame))
            }
            Cause::BranchMissing => truth.missing.contains(&record.announcement.branch),
            Cause::HeadChanged => failure.evidence.found != record.announcement.commit,
            Cause::PushRefused => self.with_mates(request).any(|r| refused(truth, r)),
            Cause::DependencyFailed => self.a_need_failed(record),
            Cause::Policy => failure.blame == Blame::Infra && self.runs_were_lost(truth, request, tested),
        };
        // What is so of a unit is so on top of those of it that are beneath.
        let of_unit = failure.cause == Cause::Conflict && self.units.contains_key(&request);
        if of_unit {
            return Ok(());
        }
        self.evidence_is_so(truth, record, failure)?;
        Violation::unless(holds, RULE, || {
            let name = record.head.map(|h| truth.git.name(h)).unwrap_or_default();
            format!("{request} ({name}): {:?}, {}", failure.cause, failure.evidence.message)
        })
    }

    /// What is shown belongs to this failure.
    fn evidence_is_so(&self, truth: &Truth, record: &Record, failure: &Failure) -> Result<(), Violation> {
        let shown = &failure.evidence;
        let (tip, head) = (self.tips.get(&record.target).copied(), record.head);
        let merged = tip.zip(head).and_then(|(tip, head)| truth.git.merge_files(tip, head).err());
        let tested = shown.candidate.map(|c| truth.git.tree(c));
        let run = shown.log.as_ref().and_then(|run| self.runs.get(run)).map(|asked| asked.tree);
        let holds = match failure.cause {
            Cause::Conflict => shown.base == tip && merged.as_ref() == Some(&shown.paths),
            Cause::GateRed | Cause::GateTimeout => shown.base == tip && tested.is_some() && run == tested,
            Cause::HeadChanged => shown.found.is_some() && shown.announced == record.announcement.commit,
            Cause::BranchMissing => shown.announced == record.announcement.commit,
            Cause::DependencyFailed => !shown.with.is_empty(),
            Cause::PushRefused => tested.is_some(),
            Cause::Policy => true,
        };
        Violation::unless(holds, "a failure shows what it is about", || format!("{failure:?}"))
    }

    fn tip_and_head(&self, record: &Record) -> Option<(CommitId, CommitId)> {
        Some((*self.tips.get(&record.target)?, record.head?))
    }

    fn conflicts_now(&self, truth: &Truth, record: &Record) -> bool {
        self.tip_and_head(record).is_some_and(|(tip, head)| truth.git.merge_files(tip, head).is_err())
    }

    /// Red for its merge with the tip as it is now, or at least its gate said so of that very tree.
    pub(crate) fn is_red_now(&self, truth: &Truth, record: &Record, tested: Option<TreeId>) -> bool {
        let Some((tip, head)) = self.tip_and_head(record) else { return false };
        let gate = self.gate(truth.policy, &record.target);
        let merged = truth.git.merge_files(tip, head);
        let flaked = tested.filter(|tree| truth.flaked.contains(tree));
        let said = |files: &Files| flaked.is_some_and(|tree| *truth.git.files_of(tree) == *files);
        merged.is_ok_and(|files| !truth.rules.is_green(&files, &gate) || said(&files))
    }

    /// Red together with those that it lands with.
    fn is_unit_red(&self, truth: &Truth, request: RequestId, tested: Option<TreeId>) -> bool {
        let Some(record) = self.requests.get(&request).filter(|_| self.units.contains_key(&request)) else {
            return false;
        };
        let gate = self.gate(truth.policy, &record.target);
        tested.is_some_and(|tree| {
            truth.flaked.contains(&tree) || !truth.rules.is_green(&truth.git.files_of(tree), &gate)
        })
    }

    /// Red without it as well: the toy gate has one step, so nothing shows that it is at fault.
    pub(crate) fn base_is_red(&self, truth: &Truth, record: &Record) -> bool {
        let gate = self.gate(truth.policy, &record.target);
        let tip = self.tips.get(&record.target);
        tip.is_some_and(|tip| !truth.rules.is_green(&truth.git.files(*tip), &gate))
    }

    fn base_is_unknown(&self, truth: &Truth, record: &Record, blame: Blame) -> bool {
        let tree = self.tips.get(&record.target).map(|tip| truth.git.tree(*tip));
        let lost = tree.and_then(|tree| self.lost.get(&tree)).copied().unwrap_or_default();
        if tree.is_some_and(|tree| truth.flaked.contains(&tree)) {
            return true;
        }
        match truth.policy.base_red {
            BaseRed::Ignore => true,
            BaseRed::Differential | BaseRed::Block => {
                blame == Blame::Infra && lost >= truth.policy.max_lost_runs
            }
        }
    }

    fn a_need_failed(&self, record: &Record) -> bool {
        record.announcement.depends_on.iter().any(|name| {
            self.requests
                .iter()
                .any(|(id, other)| self.is_named(*id, other, name) && other.end == Some(End::Failed))
        })
    }

    fn runs_were_lost(&self, truth: &Truth, request: RequestId, tested: Option<TreeId>) -> bool {
        let often = |times: &u32| *times >= truth.policy.max_lost_runs;
        // Of a unit what was tested has its mates in it.
        if self.units.contains_key(&request)
            && tested.and_then(|tree| self.lost.get(&tree)).is_some_and(often)
        {
            return true;
        }
        let merged = self.requests.get(&request).and_then(|record| self.tip_and_head(record));
        let Some((tip, head)) = merged else { return false };
        let Ok(files) = truth.git.merge_files(tip, head) else { return false };
        let lost = self.lost.iter().find(|(tree, _)| *truth.git.files_of(**tree) == files);
        lost.is_some_and(|(_, times)| often(times))
    }
}

fn refused(truth: &Truth, record: &Record) -> bool {
    let files = record.head.map(|h| truth.git.files(h)).unwrap_or_default();
    truth.remote.refused.iter().any(|name| files.contains_key(&change_region(name)))
}
