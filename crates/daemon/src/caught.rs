use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use yardmaster_failpoint::taint;
use yardmaster_git::{GitError, Mirror, PinAsk};
use yardmaster_protocol::{Assembled, Assembly, CandidateSpec, CommitId, Inspection, RequestId};

/// Runs what may panic, and gives the panic's words.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| words(panic.as_ref()))
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned())
}

/// Takes heads into custody; one that makes us panic is found and told, the others are served.
pub(crate) fn pin(
    mirror: &Mirror,
    asks: &[PinAsk],
    tip: CommitId,
) -> Result<Vec<(RequestId, Inspection)>, GitError> {
    let pin = |asks: &[PinAsk]| {
        asks.iter().for_each(|ask| taint("pin", ask.branch.as_str().as_bytes()));
        mirror.pin(asks, tip)
    };
    if let Ok(found) = caught(|| pin(asks)) {
        return found;
    }
    let mut found = Vec::with_capacity(asks.len());
    for ask in asks {
        match caught(|| pin(std::slice::from_ref(ask))) {
            Ok(inspected) => found.extend(inspected?),
            Err(why) => found.push((ask.request, Inspection::Crashed { why })),
        }
    }
    Ok(found)
}

/// Assembles a stack; what makes us panic counts as a conflict and says so.
pub(crate) fn assemble(
    mirror: &Mirror,
    base: CommitId,
    specs: &[CandidateSpec],
) -> Result<Vec<Assembled>, GitError> {
    let assemble = |base: CommitId, specs: &[CandidateSpec]| {
        specs.iter().for_each(|spec| taint("assemble", spec.message.as_bytes()));
        mirror.assemble(base, specs)
    };
    if let Ok(assembled) = caught(|| assemble(base, specs)) {
        return assembled;
    }
    let (mut base, mut made) = (base, Vec::with_capacity(specs.len()));
    for spec in specs {
        let assembled = match caught(|| assemble(base, std::slice::from_ref(spec))) {
            Ok(assembled) => assembled?,
            Err(why) => vec![Assembled {
                base,
                request: spec.request,
                assembly: Assembly::Conflict {
                    paths: Vec::new(),
                    detail: format!("merging it made the program fail: {why}"),
                    hunk: None,
                },
            }],
        };
        for one in assembled {
            if let Assembly::Clean { commit, .. } = &one.assembly {
                base = *commit;
            }
            made.push(one);
        }
    }
    Ok(made)
}
