use std::path::PathBuf;
use std::process::Command;

/// Where things are in this checkout.
pub(crate) struct Paths {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// Where cargo builds; everything that we fetch goes below it.
    pub(crate) target: PathBuf,
}

impl Paths {
    pub(crate) fn here() -> Paths {
        let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        root.pop();
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
        Paths { root, target }
    }

    /// A cargo command at the root of the workspace.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).args(args);
        command
    }
}
