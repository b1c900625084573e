use std::path::Path;

use yardmaster_git::each_difference;
use yardmaster_protocol::{GateJob, PathFilter};

/// For each step whether it need not run: nothing that its `when` names differs between the candidate and a
/// commit that is known to be green. Blocking.
///
/// # Errors
/// A sentence for the log; then every step has to run.
pub(crate) fn left_out(mirror: &Path, job: &GateJob) -> Result<Vec<bool>, String> {
    let steps = &job.gate.steps;
    let every_one = Ok(vec![false; steps.len()]);
    // Of the target's own tip everything is to be known.
    let (Some(since), Some(_)) = (job.since, job.request) else { return every_one };
    if steps.iter().all(|step| step.when.is_empty()) {
        return every_one;
    }
    let filter = |step: &yardmaster_protocol::Step| {
        (!step.when.is_empty()).then(|| PathFilter::new(&step.when)).transpose()
    };
    let filters: Vec<Option<PathFilter>> = steps.iter().map(filter).collect::<Result<_, _>>()?;
    let mut skipped: Vec<bool> = filters.iter().map(Option::is_some).collect();
    each_difference(mirror, since, job.candidate, |path| {
        for (filter, skipped) in filters.iter().zip(&mut skipped) {
            *skipped = *skipped && filter.as_ref().is_some_and(|filter| !filter.matches(path));
        }
    })
    .map_err(|why| format!("failed to compare with {}: {why}", since.short()))?;
    Ok(skipped)
}
