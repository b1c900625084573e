use std::time::Duration;

use yardmaster_failpoint::Point;

/// What a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The daemon is killed.
    Daemon,
    /// The nats-server is killed or stopped.
    Nats,
    /// The remote sleeps, dies, refuses, or kills who pushes.
    Remote,
    /// The way between the daemon and the nats-server is cut, closed, slow or blocked.
    Network,
    /// A disk is full for a while.
    Disk,
}

impl Kind {
    /// All of them, in the order in which rounds take turns.
    pub const ALL: [Kind; 5] = [Kind::Daemon, Kind::Nats, Kind::Remote, Kind::Network, Kind::Disk];

    /// As the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Daemon => "daemon",
            Kind::Nats => "nats",
            Kind::Remote => "remote",
            Kind::Network => "network",
            Kind::Disk => "disk",
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
    /// The way to the nats-server is like this after the first time, for the second.
    Network(NetFault, Duration, Duration),
    /// The same, and meanwhile the daemon dies and is started again.
    NetworkAndDies(NetFault, Duration, Duration),
    /// A disk is full after the first time, for the second.
    DiskFull(Full, Duration, Duration),
}

impl Fault {
    /// As the report has it; kills at a point have the point's name.
    pub fn name(&self) -> String {
        match self {
            Fault::DiesAt(point, ..) => point.name().to_owned(),
            Fault::DiesAfter(_) => "daemon dies at any time".to_owned(),
            Fault::NatsDies(_) => "nats-server dies".to_owned(),
            Fault::NatsStops(..) => "nats-server stands still".to_owned(),
            Fault::BothDie(_) => "nats-server and daemon die".to_owned(),
            Fault::NatsDiesAndDiesAt(..) => "nats-server dies, daemon dies at a point".to_owned(),
            Fault::Hook(hook) => format!("remote {}", hook.name()),
            Fault::HookAndDies(hook) => format!("remote {}, daemon dies", hook.name()),
            Fault::Network(what, ..) => format!("network {}", what.name()),
            Fault::NetworkAndDies(what, ..) => format!("network {}, daemon dies", what.name()),
            Fault::DiskFull(which, ..) => format!("disk {} full", which.name()),
        }
    }

    /// Whether the daemon is killed in it.
    pub fn kills_the_daemon(&self) -> bool {
        match self {
            Fault::DiesAt(..)
            | Fault::DiesAfter(_)
            | Fault::BothDie(_)
            | Fault::NatsDiesAndDiesAt(..)
            | Fault::HookAndDies(_)
            | Fault::NetworkAndDies(..) => true,
            Fault::NatsDies(_)
            | Fault::NatsStops(..)
            | Fault::Hook(_)
            | Fault::Network(..)
            | Fault::DiskFull(..) => false,
        }
    }
}

/// What happens on the way to the nats-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetFault {
    /// Every connection ends, and new ones come through.
    Cut,
    /// Every connection ends, and new ones are refused.
    Refused,
    /// Each chunk takes its time.
    Slow,
    /// Everything is taken and nothing arrives.
    Blocked,
    /// Nothing gets to the server.
    BlockedUp,
    /// Nothing comes from the server.
    BlockedDown,
    /// Nothing arrives, and then the connection is cut: what was under way is lost.
    BlockedThenCut,
}

impl NetFault {
    /// All of them.
    pub const ALL: [NetFault; 7] = [
        NetFault::Cut,
        NetFault::Refused,
        NetFault::Slow,
        NetFault::Blocked,
        NetFault::BlockedUp,
        NetFault::BlockedDown,
        NetFault::BlockedThenCut,
    ];

    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            NetFault::Cut => "cut",
            NetFault::Refused => "refused",
            NetFault::Slow => "slow",
            NetFault::Blocked => "blocked",
            NetFault::BlockedUp => "blocked towards the server",
            NetFault::BlockedDown => "blocked from the server",
            NetFault::BlockedThenCut => "blocked, then cut",
        }
    }
}

/// Whose disk is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The daemon's state directory.
    State,
    /// The nats-server's store.
    Store,
}

impl Full {
    /// As the report has it.
    pub fn name(self) -> &'static str {
        match self {
            Full::State => "of the daemon",
            Full::Store => "of the nats-server",
        }
    }
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
