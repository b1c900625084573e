use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use super::cast::{Edit, Role};
use super::project::FILES;
use crate::error::CliError;

/// Where a demo takes place; removed with everything in it, unless it is to be kept.
pub(super) struct Place {
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Place {
    /// A new directory, or `keep`, which must be empty or not there.
    pub(super) fn make(keep: Option<&Path>) -> Result<Place, CliError> {
        let Some(keep) = keep else {
            let dir = tempfile::Builder::new().prefix("yardmaster-demo-").tempdir();
            let dir = dir.map_err(|e| CliError::Demo(format!("cannot make a temporary directory: {e}")))?;
            return Ok(Place { dir: dir.path().to_owned(), _temporary: Some(dir) });
        };
        let wrong = |why: String| CliError::Usage(format!("cannot use {} for --keep: {why}", keep.display()));
        std::fs::create_dir_all(keep).map_err(|e| wrong(e.to_string()))?;
        let mut entries = std::fs::read_dir(keep).map_err(|e| wrong(e.to_string()))?;
        if entries.next().is_some() {
            return Err(wrong("it is not empty; name one that is not there yet".to_owned()));
        }
        let dir = keep.canonicalize().map_err(|e| wrong(e.to_string()))?;
        Ok(Place { dir, _temporary: None })
    }

    /// The same place for others to work in; it does not keep it from being removed.
    pub(super) fn view(&self) -> Place {
        Place { dir: self.dir.clone(), _temporary: None }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn remote(&self) -> PathBuf {
        self.dir.join("remote.git")
    }

    pub(super) fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(super) fn agent(&self, agent: &str) -> PathBuf {
        self.dir.join("agents").join(agent)
    }

    pub(super) fn check(&self) -> PathBuf {
        self.dir.join("check")
    }

    /// The remote with its first commit.
    pub(super) async fn make_remote(&self) -> Result<(), CliError> {
        let seed = self.dir.join("seed");
        git(&self.dir, &["init", "-q", "--bare", "-b", "main", "remote.git"]).await?;
        git(&self.dir, &["clone", "-q", "remote.git", "seed"]).await?;
        for (path, text) in FILES {
            write(&seed.join(path), text)?;
        }
        git(&seed, &["checkout", "-q", "-B", "main"]).await?;
        git(&seed, &["add", "."]).await?;
        commit(&seed, "demo", "A small library of prices").await?;
        git(&seed, &["push", "-q", "origin", "main"]).await?;
        Ok(())
    }

    /// What an agent does before it announces: clone, change, commit, push. The head.
    pub(super) async fn work(&self, role: &Role) -> Result<String, CliError> {
        let clone = self.agent(role.agent);
        if let Some(parent) = clone.parent() {
            std::fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
        }
        let to = clone.to_string_lossy().into_owned();
        git(&self.dir, &["clone", "-q", "remote.git", &to]).await?;
        git(&clone, &["checkout", "-q", "-b", role.branch]).await?;
        for edit in role.edits {
            match edit {
                Edit::New(path, text) => write(&clone.join(path), text)?,
                Edit::Replace(path, old, new) => replace(&clone.join(path), old, new)?,
            }
        }
        git(&clone, &["add", "."]).await?;
        commit(&clone, role.agent, role.title).await?;
        git(&clone, &["push", "-q", "origin", role.branch]).await?;
        git(&clone, &["rev-parse", "HEAD"]).await
    }
}

async fn commit(dir: &Path, who: &str, message: &str) -> Result<String, CliError> {
    let (name, email) = (format!("user.name={who}"), format!("user.email={who}@demo.invalid"));
    git(dir, &["-c", &name, "-c", &email, "commit", "-q", "-m", message]).await
}

fn write(path: &Path, text: &str) -> Result<(), CliError> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|e| failed(parent, &e))?;
    }
    std::fs::write(path, text).map_err(|e| failed(path, &e))
}

fn replace(path: &Path, old: &str, new: &str) -> Result<(), CliError> {
    let text = std::fs::read_to_string(path).map_err(|e| failed(path, &e))?;
    if !text.contains(old) {
        return Err(CliError::Demo(format!("{} does not contain `{old}`", path.display())));
    }
    write(path, &text.replacen(old, new, 1))
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::Demo(format!("cannot write {}: {error}", path.display()))
}

/// Runs git without anybody's configuration; its output without the last newline.
pub(super) async fn git(dir: &Path, args: &[&str]) -> Result<String, CliError> {
    let wrong = |why: String| CliError::Demo(format!("`git {}` does not work: {why}", args.join(" ")));
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GIT_")) {
        command.env_remove(name);
    }
    let output = command
        .args(args)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| wrong(format!("{e}; is git installed?")))?;
    if !output.status.success() {
        return Err(wrong(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}
