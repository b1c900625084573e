use std::fmt::Write as _;

use super::Replayed;
use super::judge::{Judged, Verdict};

const PATHS_SHOWN: usize = 3;

/// The table, and below it every merge in which somebody saw something else.
pub(super) fn tables(all: &[Replayed]) -> String {
    let mut text = String::from(
        "| repository | merges | maintainers' tree | git's tree, maintainers amended theirs | git's conflict, git's paths | unexplained | seconds |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for replayed in all {
        let count = |fits: fn(&Verdict) -> bool| replayed.judged.iter().filter(|j| fits(&j.verdict)).count();
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {:.1} |",
            replayed.name,
            replayed.judged.len(),
            count(|v| matches!(v, Verdict::AsMaintainers)),
            count(|v| matches!(v, Verdict::Amended(_))),
            count(|v| matches!(v, Verdict::AsGitConflict)),
            count(|v| matches!(v, Verdict::Unexplained(_))),
            replayed.seconds,
        );
    }
    for replayed in all {
        let lines: String = replayed.judged.iter().filter_map(line).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{}:\n\n{lines}", replayed.name);
        }
    }
    text
}

fn line(judged: &Judged) -> Option<String> {
    let told = match &judged.verdict {
        Verdict::AsMaintainers | Verdict::AsGitConflict => return None,
        Verdict::Amended(paths) => format!(
            "git merges clean and so do we, to the same tree; the maintainers' commit holds more than the merge, in {}",
            some(paths)
        ),
        Verdict::Unexplained(what) => format!("**unexplained**: {what}"),
    };
    Some(format!("- `{}`: {told}\n", judged.merge))
}

fn some(paths: &[String]) -> String {
    let shown: Vec<String> = paths.iter().take(PATHS_SHOWN).map(|p| format!("`{p}`")).collect();
    let more = paths.len().saturating_sub(PATHS_SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}
