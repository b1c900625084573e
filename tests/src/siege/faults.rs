use std::time::Duration;

use yardmaster_failpoint::Point;

use super::Chance;

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The daemon is killed.
    Daemon,
    /// The nats-server is killed or stopped.
    Nats,
    /// The remote sleeps, dies, refuses, or kills who pushes.
    Remote,
}

impl Kind {
    /// All of them, in the order in which rounds take turns.
    pub const ALL: [Kind; 3] = [Kind::Daemon, Kind::Nats, Kind::Remote];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Daemon => "daemon",
            Kind::Nats => "nats",
            Kind::Remote => "remote",
        }
    }
}

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The daemon dies when it passes this point for the n-th time, and is held there for so long before,
    /// while everything else that is under way gets done.
    DiesAt(Point, u64, Duration),
    /// The daemon is killed so long after it was started.
    DiesAfter(Duration),
    /// The nats-server is killed after so long, and started again.
    NatsDies(Duration),
    /// The nats-server stands still after the first time, for the second.
    NatsStops(Duration, Duration),
    /// Both die, the server first.
    BothDie(Duration),
    /// The nats-server dies after so long and comes back, and the daemon dies when it passes this point, before,
    /// meanwhile or after.
    NatsDiesAndDiesAt(Duration, Point),
    /// The remote does this at the next push.
    Hook(HookFault),
    /// The remote does this at the next push, and the daemon dies while it does.
    HookAndDies(HookFault),
}

/// What the remote does at a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookFault {
    /// Takes its time before it moves the ref.
    PreSleeps,
    /// Says no.
    PreDeclines,
    /// Its own process for this push is killed before the ref moves.
    PreKillsReceiver,
    /// The git that pushes is killed before the ref moves.
    PreKillsPusher,
    /// Takes its time after it moved the ref.
    PostSleeps,
    /// Its own process for this push is killed after the ref has moved.
    PostKillsReceiver,
    /// The git that pushes is killed after the ref has moved.
    PostKillsPusher,
}

impl HookFault {
    /// All of them.
    pub const ALL: [HookFault; 7] = [
        HookFault::PreSleeps,
        HookFault::PreDeclines,
        HookFault::PreKillsReceiver,
        HookFault::PreKillsPusher,
        HookFault::PostSleeps,
        HookFault::PostKillsReceiver,
        HookFault::PostKillsPusher,
    ];

    /// As the hook's script and the report have it.
    pub fn name(self) -> &'static str {
        match self {
            HookFault::PreSleeps => "pre-sleeps",
            HookFault::PreDeclines => "pre-declines",
            HookFault::PreKillsReceiver => "pre-kills-receiver",
            HookFault::PreKillsPusher => "pre-kills-pusher",
            HookFault::PostSleeps => "post-sleeps",
            HookFault::PostKillsReceiver => "post-kills-receiver",
            HookFault::PostKillsPusher => "post-kills-pusher",
        }
    }
}

/// What happens in one round.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// One after the other.
    pub faults: Vec<Fault>,
}

const POINTS_A_ROUND: usize = 6;
const POINTS_A_NATS_ROUND: usize = 2;
const HOOKS_A_ROUND: usize = 4;
/// Half of the time.
const HELD: Duration = Duration::from_millis(40);

impl Plan {
    /// The round of a seed; seeds that follow one another go through all points and all hooks.
    pub fn new(kind: Kind, seed: u64) -> Plan {
        let mut chance = Chance::new(seed);
        let mut faults = match kind {
            Kind::Daemon => daemon_faults(seed, &mut chance),
            Kind::Nats => nats_faults(seed, &mut chance),
            Kind::Remote => remote_faults(seed, &mut chance),
        };
        chance.shuffle(&mut faults);
        // At the end of a round there is enough behind it for what needs much.
        faults.sort_by_key(|f| {
            if let Fault::DiesAt(point, ..) = f { often(*point) == Often::Late } else { false }
        });
        Plan { seed, kind, faults }
    }
}

/// The next `count` of `all` in an order that differs from one time through to the next.
fn turn<T: Copy>(all: &[T], count: usize, seed: u64) -> Vec<T> {
    let turns = all.len().div_ceil(count) as u64;
    let mut order = all.to_vec();
    Chance::new(seed / turns).shuffle(&mut order);
    let skipped = usize::try_from(seed % turns).unwrap_or(0) * count;
    order.into_iter().skip(skipped).take(count).collect()
}

fn daemon_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
    let nth = |point: Point, chance: &mut Chance| match often(point) {
        Often::Many => chance.between(1, 4),
        Often::Few => 1 + chance.below(4) / 3,
        Often::AtStart | Often::WhenOvertaken | Often::Late => 1,
    };
    let points = turn(Point::ALL, POINTS_A_ROUND, seed).into_iter();
    let mut faults: Vec<Fault> = points
        .map(|point| Fault::DiesAt(point, nth(point, chance), HELD * u32::from(chance.below(2) == 0)))
        .collect();
    faults.extend((0..2).map(|_| Fault::DiesAfter(Duration::from_millis(chance.between(30, 900)))));
    faults
}

fn remote_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
    let hooks = turn(&HookFault::ALL, HOOKS_A_ROUND, seed).into_iter();
    let with = |hook| if chance.below(2) == 0 { Fault::Hook(hook) } else { Fault::HookAndDies(hook) };
    hooks.map(with).collect()
}

fn nats_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
    let ms = |chance: &mut Chance, from, to| Duration::from_millis(chance.between(from, to));
    let points = turn(Point::ALL, POINTS_A_NATS_ROUND, seed);
    let armed = points.into_iter().map(|point| Fault::NatsDiesAndDiesAt(ms(chance, 0, 400), point));
    let mut faults: Vec<Fault> = armed.collect();
    faults.extend([
        Fault::NatsDies(ms(chance, 0, 600)),
        Fault::NatsDies(ms(chance, 0, 600)),
        Fault::NatsStops(ms(chance, 0, 400), ms(chance, 200, 2_500)),
        Fault::NatsStops(ms(chance, 0, 400), ms(chance, 2_000, 4_500)),
        Fault::BothDie(ms(chance, 50, 600)),
    ]);
    faults
}

/// How often a life can be expected to pass a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Often {
    /// Many times.
    Many,
    /// Once or a few times.
    Few,
    /// Once, before it serves.
    AtStart,
    /// Only when a run is not needed any more.
    WhenOvertaken,
    /// Only when much has happened.
    Late,
}

fn often(point: Point) -> Often {
    match point {
        Point::AfterReplay | Point::AfterPinSweep | Point::AfterJobPurge => Often::AtStart,
        Point::AfterDelivery
        | Point::BeforePinFetch
        | Point::AfterPinFetch
        | Point::BeforeAssemble
        | Point::AfterAssemble
        | Point::AfterReportAck
        | Point::BeforePush
        | Point::AfterPush
        | Point::AfterReadBack
        | Point::BeforeUnpin
        | Point::AfterUnpin => Often::Few,
        Point::BeforeJobRetract | Point::MidJobRetract | Point::AfterJobRetract => Often::WhenOvertaken,
        Point::BeforeSnapshotStore | Point::AfterSnapshotStore | Point::AfterJournalPurge => Often::Late,
        Point::BeforeJournalAppend
        | Point::AfterJournalAppend
        | Point::BeforeJobPublish
        | Point::AfterJobPublish
        | Point::AfterJobTaken
        | Point::AfterGateSpawn
        | Point::AfterGateRecord
        | Point::BeforeReportPublish
        | Point::AfterReportPublish
        | Point::AfterJobAck
        | Point::BeforeReportTaken
        | Point::AfterReportTaken
        | Point::BeforeLook
        | Point::AfterLook
        | Point::BeforeEventPublish
        | Point::MidEventPublish
        | Point::AfterEventPublish
        | Point::BeforeAck
        | Point::AfterAck => Often::Many,
    }
}

/// Whether only somebody else's push makes sure that the point is passed.
pub(crate) fn needs_a_stranger(point: Point) -> bool {
    often(point) == Often::WhenOvertaken
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// What the siege arms is what the code has: every point is passed somewhere, none by two names.
    #[test]
    fn the_points_that_are_tried_are_the_points_in_the_code() {
        let rounds = Point::ALL.len().div_ceil(POINTS_A_ROUND) as u64;
        let faults = (0..rounds).flat_map(|seed| Plan::new(Kind::Daemon, seed).faults);
        let tried: BTreeSet<&str> = faults
            .filter_map(|f| if let Fault::DiesAt(point, ..) = f { Some(point.variant()) } else { None })
            .collect();
        let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
        let mut passed = Vec::new();
        for room in ["git", "runner", "bus", "daemon", "cli"] {
            for file in sources(&crates.join(room).join("src")) {
                let text = std::fs::read_to_string(&file).expect("a source file");
                let calls = text.split("hit(Point::").skip(1);
                passed.extend(calls.map(|c| c.split(')').next().unwrap_or_default().to_owned()));
            }
        }
        let names: BTreeSet<&str> = passed.iter().map(String::as_str).collect();
        assert_eq!(names.len(), passed.len(), "a point is passed in two places: {passed:?}");
        assert_eq!(tried, names);
    }

    fn sources(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => found.extend(sources(&path)),
                false => found.push(path),
            }
        }
        found
    }
}
