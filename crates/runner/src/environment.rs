use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use yardmaster_protocol::{GateJob, Step};

/// Every process of a lane has it, and so is found again when it leaves its process group.
pub(crate) const LANE_DIR_VARIABLE: &str = "YARDMASTER_LANE_DIR";
/// The step's number from 1: tells the processes of steps apart that run beside each other.
pub(crate) const STEP_VARIABLE: &str = "YARDMASTER_STEP";

const INHERITED: [&str; 5] = ["PATH", "HOME", "USER", "SHELL", "LANG"];
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// What the environment of a step depends on besides the job.
pub(crate) struct Surroundings<'a> {
    pub(crate) lane: u32,
    pub(crate) lane_dir: &'a Path,
    pub(crate) tmp: &'a Path,
    pub(crate) pass_env: &'a [String],
    pub(crate) cache_dir: Option<&'a Path>,
}

/// The whole environment of a step, made of `ours` and the job. A step may set anything except what
/// identifies the run.
pub(crate) fn environment(
    ours: impl Iterator<Item = (OsString, OsString)>,
    job: &GateJob,
    (place, step): (usize, &Step),
    around: &Surroundings<'_>,
) -> BTreeMap<OsString, OsString> {
    let mut all: BTreeMap<OsString, OsString> = BTreeMap::from([("PATH".into(), DEFAULT_PATH.into())]);
    all.extend(ours.filter(|(name, _)| passes(name, around.pass_env)));
    let mut set = |name: &str, value: &OsStr| all.insert(name.into(), value.into());
    set("TERM", "dumb".as_ref());
    set("CI", "true".as_ref());
    set("TMPDIR", around.tmp.as_os_str());
    for (name, value) in &step.env {
        set(name, value.as_ref());
    }
    if let Some(cache) = around.cache_dir {
        set("YARDMASTER_CACHE", cache.as_os_str());
    }
    set(STEP_VARIABLE, (place + 1).to_string().as_ref());
    set("YARDMASTER_LANE", around.lane.to_string().as_ref());
    set(LANE_DIR_VARIABLE, around.lane_dir.as_os_str());
    if let Some(request) = job.request {
        set("YARDMASTER_REQUEST", request.to_string().as_ref());
    }
    set("YARDMASTER_CANDIDATE", job.candidate.to_string().as_ref());
    set("YARDMASTER_RUN", job.run.as_str().as_ref());
    set("YARDMASTER_TARGET", job.target.as_str().as_ref());
    if job.request.is_none() {
        all.remove(OsStr::new("YARDMASTER_REQUEST"));
    }
    all
}

fn passes(name: &OsStr, pass_env: &[String]) -> bool {
    let Some(name) = name.to_str() else { return false };
    let wanted = INHERITED.contains(&name) || name.starts_with("LC_") || pass_env.iter().any(|p| p == name);
    wanted && !name.starts_with("GIT_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_passes_and_nothing_of_git_ever() {
        let wanted = ["TOKEN", "GIT_DIR"].map(String::from);
        for name in ["PATH", "HOME", "USER", "SHELL", "LANG", "LC_ALL", "TOKEN"] {
            assert!(passes(name.as_ref(), &wanted), "{name}");
        }
        for name in ["GIT_DIR", "GIT_SSH_COMMAND", "SSH_AUTH_SOCK", "YARDMASTER__NATS__URL", "PATH2", ""] {
            assert!(!passes(name.as_ref(), &wanted), "{name}");
        }
    }
}
