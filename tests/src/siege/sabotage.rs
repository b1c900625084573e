use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use serde_json::Value;

/// A build that has not been caught after so many rounds gets through.
const MOST_ROUNDS: u64 = 8;

/// A build of the daemon that is broken on purpose: a patch, behind lines that say what it breaks (`What:`), which
/// rules of the judge have to see it (`Caught:`), and with what arguments for the siege (`Round:`).
#[derive(Debug, Clone)]
pub struct Broken {
    /// The patch's file, without its ending.
    pub name: String,
    /// In a sentence.
    pub what: String,
    rules: Vec<String>,
    round: Vec<String>,
    /// Read once: it is taken back as it was applied.
    patch: String,
}

/// How the judge did.
#[derive(Debug)]
pub struct Caught {
    /// Which build.
    pub broken: Broken,
    /// After so many rounds; none: never.
    pub rounds: Option<u64>,
    /// The rules that saw it.
    pub by: Vec<String>,
    /// Seconds, with the build.
    pub seconds: f64,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every one there is, by name.
pub fn broken_builds() -> Vec<Broken> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/siege/broken");
    let patches = std::fs::read_dir(dir).expect("patches").flatten().map(|entry| entry.path());
    let mut builds: Vec<Broken> =
        patches.filter(|p| p.extension().is_some_and(|e| e == "patch")).map(|p| read(&p)).collect();
    builds.sort_by(|a, b| a.name.cmp(&b.name));
    builds
}

fn read(patch: &Path) -> Broken {
    let text = std::fs::read_to_string(patch).expect("a patch");
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim();
    Broken {
        name: patch.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        what: field("What:").to_owned(),
        rules: field("Caught:").split(", ").map(str::to_owned).collect(),
        round: field("Round:").split_whitespace().map(str::to_owned).collect(),
        patch: text.clone(),
    }
}

/// A copy of the last commit's sources, where builds are broken and made.
pub struct Workshop {
    dir: PathBuf,
}

impl Workshop {
    /// Copies the sources.
    ///
    /// # Errors
    /// When git or tar do not do it.
    pub fn open() -> Result<Workshop, String> {
        let dir = root().join("target/sabotage");
        let source = dir.join("source");
        let _ = std::fs::remove_dir_all(&source);
        std::fs::create_dir_all(&source).map_err(|e| format!("make {}: {e}", source.display()))?;
        // As of now, so that cargo sees that they are not those of the last time.
        let copy = "git -C \"$0\" archive HEAD | tar -xm -C \"$1\"";
        let out = Command::new("sh").args(["-c", copy]).arg(root()).arg(&source).output();
        done("copy the sources", out)?;
        Ok(Workshop { dir })
    }

    /// Breaks the build, and besieges it until the judge sees that.
    ///
    /// # Errors
    /// When the patch does not fit the sources any more, or they cannot be built.
    pub fn besiege(&self, broken: &Broken) -> Result<Caught, String> {
        let began = Instant::now();
        self.apply(broken, &[])?;
        let built = self.build();
        let tried = built.and_then(|program| {
            for seed in 0..MOST_ROUNDS {
                let by = round(broken, seed, &program)?;
                if by.iter().any(|rule| broken.rules.contains(rule)) {
                    return Ok((Some(seed + 1), by));
                }
            }
            Ok((None, Vec::new()))
        });
        self.apply(broken, &["-R"])?;
        let (rounds, by) = tried?;
        Ok(Caught { broken: broken.clone(), rounds, by, seconds: began.elapsed().as_secs_f64() })
    }

    fn apply(&self, broken: &Broken, more: &[&str]) -> Result<(), String> {
        let mut git = Command::new("git");
        // The copy is a directory like any other, and no part of the repository around it.
        git.current_dir(self.dir.join("source")).env("GIT_CEILING_DIRECTORIES", &self.dir);
        apply(git, broken, more)
    }

    fn build(&self) -> Result<PathBuf, String> {
        let target = self.dir.join("target");
        let out = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--package", "yardmaster", "--features", "failpoints", "--target-dir"])
            .arg(&target)
            .current_dir(self.dir.join("source"))
            .env("RUSTFLAGS", "--cap-lints allow")
            .output();
        done("build", out)?;
        Ok(target.join("debug").join("yardmaster"))
    }
}

fn apply(mut git: Command, broken: &Broken, more: &[&str]) -> Result<(), String> {
    let started = git.arg("apply").args(more).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let applied = started.and_then(|mut child| {
        if let Some(mut patch) = child.stdin.take() {
            patch.write_all(broken.patch.as_bytes())?;
        }
        child.wait_with_output()
    });
    done(&format!("apply {}", broken.name), applied).map(drop)
}

/// The rules that were broken in one round, in a siege of its own.
fn round(broken: &Broken, seed: u64, program: &Path) -> Result<Vec<String>, String> {
    let me = std::env::current_exe().map_err(|e| format!("find the siege: {e}"))?;
    let out = Command::new(me)
        .args(&broken.round)
        .args(["--rounds", "1", "--json", "--seed", &seed.to_string()])
        .env("YARDMASTER_FAILPOINTS_BIN", program)
        .output()
        .map_err(|e| format!("start a siege: {e}"))?;
    let told: Value = serde_json::from_slice(&out.stdout)
        .map_err(|e| format!("read a siege ({e}): {}", String::from_utf8_lossy(&out.stderr)))?;
    let mut rules = Vec::new();
    for failed in told["failed"].as_array().into_iter().flatten() {
        let seen = failed["broken"].as_array().into_iter().flatten().filter_map(Value::as_str);
        rules.extend(seen.filter_map(|text| Some(text.split_once(':')?.0.to_owned())));
        if let Some(dir) = failed["dir"].as_str() {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
    rules.sort_unstable();
    rules.dedup();
    Ok(rules)
}

fn done(what: &str, out: std::io::Result<Output>) -> Result<Output, String> {
    let out = out.map_err(|e| format!("{what}: {e}"))?;
    match out.status.success() {
        true => Ok(out),
        false => Err(format!("{what}: {}", String::from_utf8_lossy(&out.stderr).trim())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::judge::Rule;
    use super::*;

    #[test]
    fn every_rule_has_a_build_that_breaks_it_and_every_patch_fits_the_sources() {
        let builds = broken_builds();
        let named: BTreeSet<&str> = builds.iter().flat_map(|b| &b.rules).map(String::as_str).collect();
        let rules: Vec<String> = Rule::ALL.iter().map(|rule| format!("{rule:?}")).collect();
        assert_eq!(named, rules.iter().map(String::as_str).collect());
        for broken in builds {
            assert!(!broken.what.is_empty() && !broken.round.is_empty(), "{broken:?}");
            let mut git = Command::new("git");
            git.current_dir(root());
            apply(git, &broken, &["--check"]).expect("it fits the sources");
        }
    }
}
