use yardmaster_protocol::{AgentName, BranchName, Gate};
use yardmaster_queue::{BaseRed, Cycles, Definitions, GateRule, Guarantee, Overlap, Policy};

use crate::fault::{Fault, points};
use crate::gate::GATE_REGION;
use crate::git::Files;
use crate::rng::Rng;
use crate::work::{Act, Work};
use crate::world::{Happening, Outage, Outside, QUIET_AT, World};

fn name(text: &str) -> BranchName {
    BranchName::new(text).unwrap_or_else(|e| unreachable!("{e}"))
}

pub(crate) fn policy(rng: &mut Rng) -> Policy {
    let mut policy = Policy::new(name("main"));
    if rng.chance(20) {
        policy.targets.insert(name("next"));
    }
    if rng.chance(50) {
        policy.gate = GateRule::Fixed(Gate::command("gate fixed"));
    } else if rng.chance(6) {
        policy.gate = GateRule::Fixed(Gate::default());
    }
    policy.window_min = u32::try_from(rng.range(1, 2)).unwrap_or(1);
    policy.window_max = u32::try_from(rng.range(1, 6)).unwrap_or(1);
    policy.ageing_ms = rng.range(0, 3) * 40_000;
    policy.base_red = match rng.index(10) {
        0 => BaseRed::Ignore,
        1 | 2 => BaseRed::Block,
        _ => BaseRed::Differential,
    };
    policy.overlap = match rng.index(6) {
        0 => Overlap::Files,
        1 => Overlap::Systems,
        _ => Overlap::Textual,
    };
    if rng.chance(50) {
        policy.batch_max = u32::try_from(rng.range(2, 6)).unwrap_or(2);
        policy.slots = u32::try_from(rng.range(0, 4)).unwrap_or(0);
    }
    policy.cycles = if rng.chance(40) { Cycles::Bundle } else { Cycles::Refuse };
    policy.guarantee = if rng.chance(15) { Guarantee::EveryPush } else { Guarantee::EveryCommit };
    policy.least_chance = u16::try_from(rng.range(0, 300)).unwrap_or(0);
    policy.max_pending = if rng.chance(10) { 4 } else { 1_000 };
    policy.max_pending_per_agent = if rng.chance(10) { 3 } else { 256 };
    policy.definitions = match rng.index(4) {
        0 => Definitions::Enforce,
        1 => Definitions::Advise,
        _ => Definitions::Off,
    };
    policy
}

impl World {
    /// Who will do what when.
    pub(crate) fn populate(&mut self) {
        let mut files: Files = [(GATE_REGION.to_owned(), "1".to_owned())].into();
        let mut aside = self.rng.clone();
        let n = usize::try_from(self.rng.range(2, 14)).unwrap_or(2);
        for _ in 0..8 {
            aside.range(0, 1);
        }
        self.some_rights(n, &mut files, aside);
        let base = self.git.commit(&[], files, "base");
        for target in self.policy.targets.clone() {
            self.remote.branches.insert(target.clone(), base);
            self.tip_moved(&target);
        }
        for i in 0..n {
            let work = self.some_work(i, n);
            self.missing.insert(work.branch.clone());
            self.works.push(work);
            self.some_rules(i);
            self.some_acts(i);
        }
        self.faulty = self.rng.chance(80);
        if self.faulty {
            self.some_faults();
        }
        self.flaky = self.rng.chance(12);
        if self.rng.chance(15) {
            let at = self.rng.range(0, QUIET_AT);
            self.after(at, Happening::Fork);
        }
        self.some_promotions();
        self.after(QUIET_AT, Happening::Quiet);
        self.after(0, Happening::Start);
    }

    /// Drawn aside: where no operator moves anybody, histories are what they were.
    fn some_promotions(&mut self) {
        let mut rng = self.rng.clone();
        if rng.chance(20) {
            for _ in 0..rng.range(1, 6) {
                let at = rng.range(0, QUIET_AT / 2);
                self.after(at, Happening::Act(Act::Promote));
            }
        }
    }

    fn some_work(&mut self, i: usize, n: usize) -> Work {
        let of = if self.rng.chance(4) { self.rng.index(i + 1) } else { i };
        let targets: Vec<BranchName> = self.policy.targets.iter().cloned().collect();
        let depends_on = self.some_needs(n);
        let requirement = if self.rng.chance(5) { self.rng.index(n) } else { i };
        Work {
            name: format!("C{i}"),
            agent: AgentName::new(format!("agent-{}", i % 3)).unwrap_or_else(|e| unreachable!("{e}")),
            branch: name(&format!("work/C{of}")),
            requirement: format!("REQ-{requirement}"),
            target: targets.get(self.rng.index(targets.len())).cloned().unwrap_or_else(|| name("main")),
            priority: self.rng.chance(50).then(|| self.rng.range(1, 3)),
            depends_on,
            heads: Vec::new(),
            attempts: 0,
        }
    }

    pub(crate) fn some_needs(&mut self, n: usize) -> Vec<String> {
        let mut needs = Vec::new();
        for _ in 0..2 {
            if self.rng.chance(15) {
                needs.push(self.some_need(n));
            }
        }
        needs
    }

    fn some_need(&mut self, n: usize) -> String {
        let other = self.rng.index(n);
        match self.rng.index(10) {
            0 => "REQ-of-nobody".to_owned(),
            1 => format!("r{}", other + 1),
            2..=4 => format!("work/C{other}"),
            _ => format!("REQ-{other}"),
        }
    }

    fn some_rules(&mut self, i: usize) {
        let (own, other) = (format!("C{i}"), format!("C{}", self.rng.index(i + 1)));
        if self.rng.chance(12) {
            self.rules.red.insert(own.clone());
        }
        if self.rng.chance(5) {
            self.rules.strict.insert(own.clone());
        }
        if self.rng.chance(3) {
            self.remote.refused.insert(own.clone());
        }
        if own != other {
            match self.rng.index(10) {
                0 => drop(self.rules.together.insert((other, own))),
                1 => drop(self.rules.unless.insert(other, own)),
                _ => {}
            }
        }
    }

    fn some_acts(&mut self, i: usize) {
        let at = if self.rng.chance(50) { self.rng.range(0, 5_000) } else { self.rng.range(0, 200_000) };
        let announced = at + self.rng.range(0, 2_000);
        let created = if self.rng.chance(97) { at } else { announced + 2_000 };
        self.after(created, Happening::Act(Act::Create(i)));
        self.after(announced, Happening::Act(Act::Announce(i)));
        let more = [
            (10, Act::Announce(i)),
            (3, Act::AnnounceOldHead(i)),
            (8, Act::PushAgain(i)),
            (3, Act::PushBack(i)),
            (8, Act::Mend(i)),
            (5, Act::Withdraw(i)),
            (2, Act::WithdrawByService(i)),
            (6, Act::Delete(i)),
            (5, Act::Garbage),
            (5, Act::Amend(i)),
            (2, Act::Pause),
        ];
        for (percent, act) in more {
            if self.rng.chance(percent) {
                let again = matches!(act, Act::PushAgain(_) | Act::PushBack(_)) && self.rng.chance(70);
                let ms = announced + self.rng.range(0, 90_000);
                self.after(ms, Happening::Act(act));
                if again {
                    let ms = ms + self.rng.range(0, 9_000);
                    self.after(ms, Happening::Act(Act::Announce(i)));
                }
            }
        }
    }

    fn some_faults(&mut self) {
        let outage = |outage| Happening::Outside(Outside::Begins(outage));
        let faults = [
            (30, 2, Happening::Crash),
            (30, 3, Happening::Outside(Outside::Foreign)),
            (8, 1, Happening::Outside(Outside::Rewind)),
            (6, 1, Happening::Outside(Outside::TargetGone)),
            (20, 2, outage(Outage::Remote)),
            (12, 1, outage(Outage::Nats)),
            (8, 1, outage(Outage::Journal)),
            (8, 1, outage(Outage::Mirror)),
            (12, 1, Happening::Rival),
            (12, 1, Happening::Sleep),
            (10, 1, Happening::Outside(Outside::ClockJump)),
            (10, 2, Happening::Outside(Outside::Reload)),
        ];
        for (percent, times, fault) in faults {
            for _ in 0..times {
                if self.rng.chance(percent) {
                    let at = self.rng.range(0, QUIET_AT);
                    self.after(at, fault.clone());
                }
            }
        }
        for _ in 0..4 {
            if self.rng.chance(50) {
                let (at, points) = (self.rng.range(0, QUIET_AT / 2), points());
                let point = points.get(self.rng.index(points.len())).copied().unwrap_or(Fault::Killed);
                self.after(at, Happening::Arm(point));
            }
        }
    }
}
