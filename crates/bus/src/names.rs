use std::collections::BTreeSet;

use yardmaster_protocol::{Label, RUNNER_PREFIX, RunId, RunnerName};

use crate::BusError;

/// Header of a journal record: which call of which process wrote it.
pub(crate) const COMMIT_HEADER: &str = "Yardmaster-Commit";
/// Header of an event: the instance and the journal position it comes from.
pub(crate) const JOURNAL_HEADER: &str = "Yardmaster-Journal";
/// Header of an event: the position up to which every event was confirmed before this one was sent, and how
/// many are sent together after it.
pub(crate) const AFTER_HEADER: &str = "Yardmaster-After";
/// Header of a job: what daemon and runner say to each other; 1 where it is missing.
pub(crate) const WIRE_HEADER: &str = "Yardmaster-Wire";
/// Header of a job: which life of the daemon asked for it.
pub(crate) const EPOCH_HEADER: &str = "Yardmaster-Epoch";
pub(crate) const TRACE_HEADER: &str = "traceparent";

/// The names on the server of what belongs to one instance.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) instance: String,
    pub(crate) journal_stream: String,
    pub(crate) journal_subject: String,
    pub(crate) jobs_stream: String,
    pub(crate) run_subject: String,
    pub(crate) report_subject: String,
    pub(crate) snapshots: String,
    pub(crate) lease: String,
    /// The bucket of candidates that are on their way to runners.
    pub(crate) candidates: String,
    /// The bucket of logs of runs elsewhere.
    pub(crate) logs: String,
    /// Alone: every run; followed by a run: that one.
    pub(crate) cancel_subject: String,
}

impl Names {
    pub(crate) fn new(name: &str) -> Result<Names, BusError> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
        if name.is_empty() || name.len() > 32 || !name.chars().all(fits) {
            return Err(BusError::BadName { name: name.chars().take(40).collect() });
        }
        let suffix =
            if name == "default" { String::new() } else { format!("_{}", name.to_ascii_uppercase()) };
        Ok(Names {
            instance: name.to_owned(),
            journal_stream: format!("YARDMASTER_JOURNAL{suffix}"),
            journal_subject: format!("yardmaster.journal.{name}"),
            jobs_stream: format!("YARDMASTER_JOBS{suffix}"),
            run_subject: format!("yardmaster.jobs.{name}.run"),
            report_subject: format!("yardmaster.jobs.{name}.report"),
            snapshots: format!("yardmaster-snapshots-{name}"),
            lease: format!("yardmaster-lease-{name}"),
            candidates: format!("yardmaster-candidates-{name}"),
            logs: format!("yardmaster-logs-{name}"),
            cancel_subject: format!("yardmaster.cancel.{name}"),
        })
    }

    /// Where jobs go that need labels.
    pub(crate) fn run_subject(&self, needs: &BTreeSet<Label>) -> String {
        if needs.is_empty() {
            self.run_subject.clone()
        } else {
            format!("{}.{}", self.run_subject, token(needs))
        }
    }

    /// Where a runner answers.
    pub(crate) fn runner_at(&self, runner: &RunnerName) -> String {
        format!("{RUNNER_PREFIX}.{}.at.{runner}.log", self.instance)
    }

    /// Where runners ask the daemon.
    pub(crate) fn runner_verb(&self, verb: &str) -> String {
        format!("{RUNNER_PREFIX}.{}.{verb}", self.instance)
    }

    pub(crate) fn cancel_run(&self, run: &RunId) -> String {
        format!("{}.{run}", self.cancel_subject)
    }
}

/// A set of labels as a subject token and part of a consumer's name; the same for the same set.
pub(crate) fn token(needs: &BTreeSet<Label>) -> String {
    let text = needs.iter().map(Label::as_str).collect::<Vec<_>>().join(" ");
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_name_is_one_plain_token() {
        assert_eq!(Names::new("default").map(|n| n.jobs_stream), Ok("YARDMASTER_JOBS".into()));
        assert_eq!(Names::new("blue").map(|n| n.journal_stream), Ok("YARDMASTER_JOURNAL_BLUE".into()));
        for bad in ["", "a.b", "A", "a b", ">", &"x".repeat(33)] {
            assert!(Names::new(bad).is_err(), "{bad}");
        }
    }
}
