use std::time::Duration;

/// How merges that were worked out in memory are held against `git merge-tree`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CrossCheck {
    /// Every one.
    #[default]
    All,
    /// One in so many; zero is the same as `Off`.
    Sampled(u32),
    /// None.
    Off,
}

/// How the hands on git behave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitOptions {
    /// How in-memory merges are checked.
    pub cross_check: CrossCheck,
    /// The longest that one command on the network may take.
    pub net_timeout: Duration,
    /// The transports that a remote may use, by git's names.
    pub allowed_protocols: Vec<String>,
    /// In place of `ssh -o BatchMode=yes`, such as `ssh -i /keys/queue -o BatchMode=yes`.
    pub ssh_command: Option<String>,
    /// Refuse merges that take back landed work of others without saying so.
    pub guard: bool,
}

impl Default for GitOptions {
    fn default() -> Self {
        Self {
            cross_check: CrossCheck::All,
            net_timeout: Duration::from_secs(60),
            allowed_protocols: ["file", "git", "http", "https", "ssh"].map(str::to_owned).to_vec(),
            ssh_command: None,
            guard: true,
        }
    }
}
