use std::path::PathBuf;
use std::process::Command;

use crate::error::XtaskError;
use crate::paths::Paths;
use crate::process;

/// A program from crates.io that a check needs, in one exact version.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    version: &'static str,
}

pub(crate) const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };
pub(crate) const MACHETE: Tool = Tool { name: "cargo-machete", version: "0.9.2" };

impl Tool {
    /// The program in its pinned version: from `PATH`, from an earlier run, or built now.
    pub(crate) fn get(&self, paths: &Paths) -> Result<PathBuf, XtaskError> {
        let root = paths.target.join("tools");
        let ours = root.join("bin").join(self.name);
        let mut candidates = process::on_path(self.name);
        candidates.push(ours.clone());
        if let Some(path) = candidates.into_iter().find(|path| self.is_pinned(path)) {
            return Ok(path);
        }
        eprintln!(
            "xtask: building {} {} into {} (once; some minutes)",
            self.name,
            self.version,
            root.display()
        );
        let pinned = format!("{}@{}", self.name, self.version);
        let mut install = paths.cargo(&["install", "--locked", "--quiet", "--force", "--root"]);
        process::run(install.arg(&root).arg(pinned))?;
        Ok(ours)
    }

    fn is_pinned(&self, path: &PathBuf) -> bool {
        let printed = process::output(Command::new(path).arg("--version")).unwrap_or_default();
        printed.split_whitespace().any(|word| word == self.version)
    }
}
