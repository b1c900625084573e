use git2::Repository;
use yardmaster_protocol::{BranchName, CommitId, LandOutcome, Landing, TreeId};

use crate::objects::{find_commit, oid, tree_id};
use crate::{GitError, Mirror};

impl Mirror {
    /// [`Mirror::land`], and before and after it an audit: what is pushed is exactly the commits that
    /// were decided on, each on top of the one before it, each with the tree that was tested.
    pub fn land_audited(&self, target: &BranchName, landing: &Landing) -> LandOutcome {
        let asked: Vec<CommitId> = landing.requests.iter().map(|(_, commit)| *commit).collect();
        // Whoever took over may not have it; it is remade by what it is made of.
        if let Some(Err(error)) = landing.rollup.as_ref().map(|rollup| self.roll_up(rollup)) {
            return LandOutcome::Unknown { why: error.to_string() };
        }
        match self.audit(landing) {
            Ok(None) => {}
            Ok(Some(why)) => {
                let why = format!("nothing was pushed, because {why}");
                return match self.look(target, Some(landing.from), &asked) {
                    Ok(seen) => LandOutcome::Altered { why, seen },
                    Err(error) => LandOutcome::Unknown { why: format!("{why}; then {error}") },
                };
            }
            Err(error) => return LandOutcome::Unknown { why: error.to_string() },
        }
        match (self.land(target, landing.from, landing.to, &asked), self.audit(landing)) {
            (LandOutcome::Landed { seen }, Ok(Some(why))) => LandOutcome::Altered { why, seen },
            (outcome, _) => outcome,
        }
    }

    /// What is wrong with a landing, read from the objects themselves.
    fn audit(&self, landing: &Landing) -> Result<Option<String>, GitError> {
        self.with_repository(|repo| {
            let mut below = landing.from;
            // Landings of older journals know the tree of the topmost commit only.
            let known = landing.trees.len() == landing.requests.len();
            for (i, (_, commit)) in landing.requests.iter().enumerate() {
                let tested = if known { landing.trees.get(i).copied() } else { None };
                if let Some(why) = differs(repo, below, *commit, tested)? {
                    return Ok(Some(why));
                }
                below = *commit;
            }
            if let Some(rollup) = &landing.rollup {
                let made = find_commit(repo, landing.to)?;
                let parents = [oid(rollup.base), oid(rollup.top)];
                if below != rollup.top || !made.parent_ids().eq(parents) {
                    return Ok(Some(format!("{} is not the merge of what was tested", landing.to)));
                }
                let own = landing.requests.len().saturating_sub(rollup.members as usize);
                let beneath = own.checked_sub(1).and_then(|i| landing.requests.get(i)).map(|(_, c)| *c);
                if beneath.unwrap_or(landing.from) != rollup.base {
                    return Ok(Some(format!("{} does not stand on what it was tested on", landing.to)));
                }
                return differs(repo, landing.to, landing.to, Some(landing.tree));
            }
            if below != landing.to {
                return Ok(Some(format!("{} is the commit of no request", landing.to)));
            }
            differs(repo, below, below, Some(landing.tree))
        })
    }
}

fn differs(
    repo: &Repository,
    below: CommitId,
    commit: CommitId,
    tested: Option<TreeId>,
) -> Result<Option<String>, GitError> {
    let found = find_commit(repo, commit)?;
    let tree = tree_id(found.tree_id());
    if commit != below && found.parent_id(0).ok() != Some(oid(below)) {
        return Ok(Some(format!("{commit} does not stand on {below}, on which it was tested")));
    }
    Ok(tested
        .filter(|tested| *tested != tree)
        .map(|tested| format!("{commit} has the tree {tree}, but {tested} was tested")))
}
