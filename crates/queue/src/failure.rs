use yardmaster_protocol::{Blame, BranchName, Cause, CommitId, Evidence, Failure, RunOutcome};

use crate::health::what_is_red;
use crate::policy::Policy;
use crate::state::{Request, Verdict};

pub(crate) fn branch_missing(live: &Request) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::BranchMissing,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("the remote has no branch `{branch}`"),
            announced: live.announcement.commit,
            ..Evidence::default()
        },
        next: vec![format!("git push origin {branch}"), announce_again(live)],
    }
}

pub(crate) fn head_changed(live: &Request, found: CommitId) -> Failure {
    let branch = &live.announcement.branch;
    let announced = live.announcement.commit;
    let was = announced.map(|c| c.to_string()).unwrap_or_default();
    Failure {
        cause: Cause::HeadChanged,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("`{branch}` was announced at {was}, but the remote has it at {found}"),
            announced,
            found: Some(found),
            ..Evidence::default()
        },
        next: vec![format!("git rev-parse {branch}"), announce_again(live)],
    }
}

pub(crate) fn custody_lost(live: &Request) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::BranchMissing,
        blame: Blame::Infra,
        evidence: Evidence {
            message: format!(
                "another daemon took over, which cannot get the head of `{branch}`: only the one that is gone had it"
            ),
            announced: live.head(),
            ..Evidence::default()
        },
        next: vec![format!("git push origin {branch}"), announce_again(live)],
    }
}

pub(crate) fn unserved(live: &Request, policy: &Policy) -> Failure {
    let served: Vec<&str> = policy.targets.iter().map(BranchName::as_str).collect();
    Failure {
        cause: Cause::Policy,
        blame: Blame::Infra,
        evidence: Evidence {
            message: format!(
                "target `{}` is no longer served: this queue lands on {}",
                live.target,
                served.join(", ")
            ),
            announced: live.announcement.commit,
            ..Evidence::default()
        },
        next: vec![announce_again(live)],
    }
}

pub(crate) fn crashed(live: &Request, why: &str) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::Policy,
        blame: Blame::Infra,
        evidence: Evidence {
            message: format!(
                "`{branch}` cannot be taken into custody, because the daemon fails on it: {why}"
            ),
            announced: live.announcement.commit,
            ..Evidence::default()
        },
        next: vec![format!("git log --oneline {branch}"), announce_again(live)],
    }
}

pub(crate) fn unusable(live: &Request, why: &str) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::Policy,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("`{branch}` cannot be merged, because {why}"),
            ..Evidence::default()
        },
        next: vec![format!("git log --oneline {branch}"), announce_again(live)],
    }
}

pub(crate) fn conflict(
    live: &Request,
    target: &BranchName,
    tip: CommitId,
    (paths, detail, hunk): (&[String], &str, Option<&str>),
    with: Vec<String>,
) -> Failure {
    let mut next = merge_target(live, target);
    next.push(format!("git add {}", paths.iter().map(|p| quoted(p)).collect::<Vec<_>>().join(" ")));
    next.push("git commit --no-edit".to_owned());
    next.push(format!("git push origin {}", live.announcement.branch));
    next.push(announce_again(live));
    Failure {
        cause: Cause::Conflict,
        blame: if with.is_empty() { Blame::Own } else { Blame::Ahead },
        evidence: Evidence {
            message: format!("does not merge with `{target}` at {}: {detail}", tip.short()),
            paths: paths.to_vec(),
            with,
            base: Some(tip),
            hunk: hunk.map(str::to_owned),
            ..Evidence::default()
        },
        next,
    }
}

pub(crate) fn takes_back(
    live: &Request,
    target: &BranchName,
    tip: CommitId,
    of: CommitId,
    label: &str,
    (paths, hunk): (&[String], &str),
) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::Policy,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!(
                "would take back what landed on `{target}` as {} ({label}), and no commit of `{branch}` says so: \
                 it looks like an old tree that was committed on a new base",
                of.short()
            ),
            paths: paths.to_vec(),
            with: vec![label.to_owned()],
            base: Some(tip),
            hunk: Some(hunk.to_owned()),
            ..Evidence::default()
        },
        next: vec![
            "git fetch origin".to_owned(),
            format!("git diff origin/{target} {branch}  # put back what is not yours, commit and push"),
            format!("# if it is meant: git commit --amend --trailer 'Reverts: {of}', push, and"),
            announce_again(live),
        ],
    }
}

pub(crate) fn breaks_project(
    live: &Request,
    target: &BranchName,
    tip: CommitId,
    paths: &[String],
    why: &str,
) -> Failure {
    let branch = &live.announcement.branch;
    Failure {
        cause: Cause::Policy,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("with it nothing could land on `{target}` any more: {why}"),
            paths: paths.to_vec(),
            base: Some(tip),
            ..Evidence::default()
        },
        next: vec![
            format!("# mend {} on {branch}, commit and push", paths.join(" and ")),
            announce_again(live),
        ],
    }
}

pub(crate) fn gate_red(live: &Request, target: &BranchName, tip: CommitId, verdict: &Verdict) -> Failure {
    let (cause, step, exit_code, log_tail) = match &verdict.outcome {
        RunOutcome::TimedOut { step, log_tail, .. } => {
            (Cause::GateTimeout, Some(step.clone()), None, Some(log_tail.clone()))
        }
        RunOutcome::Red { step, exit_code, log_tail } => {
            (Cause::GateRed, Some(step.clone()), *exit_code, Some(log_tail.clone()))
        }
        RunOutcome::Green | RunOutcome::Cancelled | RunOutcome::Lost { .. } => {
            (Cause::GateRed, None, None, None)
        }
    };
    let message = what_is_red(&verdict.outcome);
    let mut next = vec![format!("yardmaster logs {}", verdict.run)];
    next.extend(merge_target(live, target));
    if let Some(step) = &step {
        next.push(format!("# run the gate's step `{step}` here, mend what is red, commit and push"));
    }
    next.push(announce_again(live));
    Failure {
        cause,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("{message}, merged onto `{target}` at {}", tip.short()),
            base: Some(tip),
            candidate: Some(verdict.candidate),
            step,
            exit_code,
            log_tail,
            log: Some(verdict.run.clone()),
            ..Evidence::default()
        },
        next,
    }
}

/// It was tried with those that it lands with, and fails with them.
pub(crate) fn together_with(mut failure: Failure, mates: &[String]) -> Failure {
    if !mates.is_empty() {
        let told = format!(", together with {}, which it lands with or not at all", mates.join(", "));
        failure.evidence.message.push_str(&told);
        failure.evidence.with.extend(mates.iter().cloned());
    }
    failure
}

/// Red on top of a tip that nobody could test: whose fault it is stays open.
pub(crate) fn base_untestable(
    live: &Request,
    target: &BranchName,
    tip: CommitId,
    verdict: &Verdict,
) -> Failure {
    let mut failure = gate_red(live, target, tip, verdict);
    failure.blame = Blame::Infra;
    failure
        .evidence
        .message
        .push_str("; whether that is red without it is not known, since all runs of it were lost");
    failure
}

pub(crate) fn runs_lost(live: &Request, verdict: &Verdict) -> Failure {
    let why = match &verdict.outcome {
        RunOutcome::Lost { why } => why.as_str(),
        _ => "the run was cancelled",
    };
    Failure {
        cause: Cause::Policy,
        blame: Blame::Infra,
        evidence: Evidence {
            message: format!(
                "retry limit: {} runs were lost and gave no verdict; the last one: {why}",
                verdict.lost
            ),
            candidate: Some(verdict.candidate),
            log: Some(verdict.run.clone()),
            ..Evidence::default()
        },
        next: vec!["yardmaster status".to_owned(), announce_again(live)],
    }
}

/// With `mates` it was pushed as one: which of them the remote means, only its words can say.
pub(crate) fn push_refused(live: &Request, commit: CommitId, why: &str, mates: &[String]) -> Failure {
    let pushed = match mates {
        [] => "the push".to_owned(),
        _ => format!("the push of this and {}, which land together or not at all", mates.join(", ")),
    };
    Failure {
        cause: Cause::PushRefused,
        blame: Blame::Own,
        evidence: Evidence {
            message: format!("the gate was green, but the remote refused {pushed}: {why}"),
            candidate: Some(commit),
            with: mates.to_vec(),
            ..Evidence::default()
        },
        next: vec!["# satisfy the remote's rule that its message names".to_owned(), announce_again(live)],
    }
}

pub(crate) fn dependency_failed(live: &Request, other: &str) -> Failure {
    Failure {
        cause: Cause::DependencyFailed,
        blame: Blame::Ahead,
        evidence: Evidence {
            message: format!("depends on {other}, which failed"),
            with: vec![other.to_owned()],
            ..Evidence::default()
        },
        next: vec![format!("# wait until a mended {other} is announced, then"), announce_again(live)],
    }
}

/// Whether a failure shows that testing so many at once did not pay.
pub(crate) fn narrows_window(failure: &Failure) -> bool {
    matches!(failure.cause, Cause::GateRed | Cause::GateTimeout)
}

fn merge_target(live: &Request, target: &BranchName) -> Vec<String> {
    vec![
        "git fetch origin".to_owned(),
        format!("git switch {}", live.announcement.branch),
        format!("git merge origin/{target}"),
    ]
}

pub(crate) fn announce_again(live: &Request) -> String {
    let a = &live.announcement;
    format!(
        "yardmaster submit {} --agent {} --requirement {}",
        quoted(a.branch.as_str()),
        a.agent,
        quoted(a.requirement.as_str())
    )
}

/// A word for a POSIX shell.
pub(crate) fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
