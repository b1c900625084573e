use std::time::Duration;

use yardmaster_failpoint::Point;

use super::Chance;
use super::faults::{Fault, Full, HookFault, Kind, NetFault};
use super::points::{Often, often};

/// What happens in one round.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// One after the other.
    pub faults: Vec<Fault>,
    /// The points that were asked for; empty: those whose turn it is.
    pub aimed_at: Vec<Point>,
}

const POINTS_A_ROUND: usize = 6;
const POINTS_A_NATS_ROUND: usize = 2;
const HOOKS_A_ROUND: usize = 4;
const NETS_A_ROUND: usize = 4;
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
            Kind::Network => network_faults(seed, &mut chance),
            Kind::Disk => disk_faults(&mut chance),
        };
        order(&mut faults, &mut chance);
        Plan { seed, kind, faults, aimed_at: Vec::new() }
    }

    /// A round in which the daemon dies at these points, up to six of them, one after the other.
    pub fn aimed(seed: u64, points: &[Point]) -> Plan {
        let mut chance = Chance::new(seed);
        let points: Vec<Point> = points.iter().copied().take(POINTS_A_ROUND).collect();
        let mut faults = armed(&points, &mut chance);
        order(&mut faults, &mut chance);
        Plan { seed, kind: Kind::Daemon, faults, aimed_at: points }
    }

    /// The arguments that repeat it.
    pub fn again(&self) -> String {
        let names: Vec<&str> = self.aimed_at.iter().map(|p| p.name()).collect();
        let aim = if names.is_empty() { String::new() } else { format!(" --points {}", names.join(",")) };
        format!("--rounds 1 --seed {} --only {}{aim}", self.seed, self.kind.name())
    }
}

/// Any order, but at the end of a round there is enough behind it for what needs much.
fn order(faults: &mut [Fault], chance: &mut Chance) {
    chance.shuffle(faults);
    faults.sort_by_key(
        |f| {
            if let Fault::DiesAt(point, ..) = f { often(*point) == Often::Late } else { false }
        },
    );
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
    let mut faults = armed(&turn(Point::ALL, POINTS_A_ROUND, seed), chance);
    faults.extend((0..2).map(|_| Fault::DiesAfter(ms(chance, 30, 900))));
    faults
}

fn armed(points: &[Point], chance: &mut Chance) -> Vec<Fault> {
    let nth = |point: Point, chance: &mut Chance| match often(point) {
        Often::Many => chance.between(1, 4),
        Often::Few => 1 + chance.below(4) / 3,
        Often::AtStart | Often::WhenOvertaken | Often::Late => 1,
    };
    let held = |chance: &mut Chance| HELD * u32::from(chance.below(2) == 0);
    points.iter().map(|point| Fault::DiesAt(*point, nth(*point, chance), held(chance))).collect()
}

fn ms(chance: &mut Chance, from: u64, to: u64) -> Duration {
    Duration::from_millis(chance.between(from, to))
}

fn remote_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
    let hooks = turn(&HookFault::ALL, HOOKS_A_ROUND, seed).into_iter();
    let with = |hook| if chance.below(2) == 0 { Fault::Hook(hook) } else { Fault::HookAndDies(hook) };
    hooks.map(with).collect()
}

fn nats_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
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

fn network_faults(seed: u64, chance: &mut Chance) -> Vec<Fault> {
    let fault = |what: NetFault| {
        let (after, lasts) = match what {
            NetFault::Cut => (ms(chance, 0, 500), Duration::ZERO),
            NetFault::Refused | NetFault::Slow => (ms(chance, 0, 300), ms(chance, 200, 2_000)),
            // Pings of the client and patience with the server are 2 to 5 s.
            NetFault::Blocked | NetFault::BlockedUp | NetFault::BlockedDown | NetFault::BlockedThenCut => {
                (ms(chance, 0, 300), ms(chance, 300, 6_000))
            }
        };
        match chance.below(3) {
            0 => Fault::NetworkAndDies(what, after, lasts),
            _ => Fault::Network(what, after, lasts),
        }
    };
    turn(&NetFault::ALL, NETS_A_ROUND, seed).into_iter().map(fault).collect()
}

fn disk_faults(chance: &mut Chance) -> Vec<Fault> {
    let state =
        |chance: &mut Chance| Fault::DiskFull(Full::State, ms(chance, 0, 400), ms(chance, 500, 3_000));
    let mut faults = vec![state(chance), state(chance)];
    // By then the server has given a write up, and the daemon one of its own.
    faults.push(Fault::DiskFull(Full::Store, ms(chance, 0, 400), ms(chance, 1_500, 7_000)));
    faults
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
