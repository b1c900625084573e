use git2::Oid;

use super::meet::{MAX_PATHS, told};
use super::room::Room;
use crate::GitError;
use crate::git::Git;
use crate::mirror::Mirror;

/// The most pairs that one process is asked about: so what it says and what it writes is bounded.
const BATCH: usize = 128;

/// A merge that only git can judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) ours: Oid,
    pub(super) theirs: Oid,
    /// Git has to be told that the attributes are in the tree of `ours`.
    pub(super) attributes: bool,
}

/// The paths in conflict, or none for a clean merge.
pub(super) type Answer = Option<Vec<String>>;

/// Asks git about many merges, few processes for all of them. What it writes goes to rooms of its own and
/// is thrown away.
pub(super) fn ask(mirror: &Mirror, questions: &[Question]) -> Result<Vec<Answer>, GitError> {
    if questions.is_empty() {
        return Ok(Vec::new());
    }
    // One process for all pairs that need no attributes, and one for each tree that has them.
    let mut order: Vec<usize> = (0..questions.len()).collect();
    let group = |q: &Question| q.attributes.then_some(q.ours);
    order.sort_by_key(|i| group(&questions[*i]));
    let mut answers: Vec<Answer> = vec![None; questions.len()];
    for batch in order.chunk_by(|a, b| group(&questions[*a]) == group(&questions[*b])) {
        for batch in batch.chunks(BATCH) {
            let pairs: Vec<&Question> = batch.iter().map(|i| &questions[*i]).collect();
            for (i, answer) in batch.iter().zip(somewhere(mirror, &pairs)?) {
                answers[*i] = answer;
            }
        }
    }
    Ok(answers)
}

/// In memory where there is room for it.
fn somewhere(mirror: &Mirror, questions: &[&Question]) -> Result<Vec<Answer>, GitError> {
    if let Some(room) = Room::in_memory(mirror) {
        match one_process(mirror, &room, questions) {
            Ok(answers) => return Ok(answers),
            Err(error) => tracing::debug!(%error, "merges are weighed on the disk"),
        }
    }
    one_process(mirror, &Room::on_disk(mirror)?, questions)
}

fn one_process(mirror: &Mirror, room: &Room, questions: &[&Question]) -> Result<Vec<Answer>, GitError> {
    let variables = vec![("GIT_OBJECT_DIRECTORY", room.dir().to_owned())];
    let git = Git { variables, synced: false, ..mirror.git.clone() };
    let source = questions.first().filter(|q| q.attributes).map(|q| format!("--attr-source={}", q.ours));
    // What is written is thrown away. An id is an id, also where a branch has such a name: git only warns of that,
    // and looks at six paths for each id to find out.
    let mut args = vec!["-c", "core.looseCompression=0", "-c", "core.warnAmbiguousRefs=false"];
    args.extend(source.as_deref());
    args.extend(["merge-tree", "--write-tree", "--stdin", "-z", "--no-messages", "--name-only"]);
    let input: String = questions.iter().map(|q| format!("{} {}\n", q.ours, q.theirs)).collect();
    // All input is written while output is read: older versions of git buffer their answers.
    let done = git.local(&args, Some(input.into_bytes()))?;
    if !done.status.is_some_and(|s| s.success()) || done.cut {
        return Err(git.failed(&args, &done));
    }
    let mut fields = done.stdout.split(|b| *b == 0);
    let mut answers = Vec::with_capacity(questions.len());
    for _ in questions {
        let (Some(clean), Some(_tree)) = (fields.next(), fields.next()) else {
            return Err(GitError::Command { command: "merge-tree".into(), why: "too few answers".into() });
        };
        let names: Vec<&[u8]> = fields.by_ref().take_while(|f| !f.is_empty()).collect();
        answers.push((clean != b"1").then(|| names.into_iter().take(MAX_PATHS).map(told).collect()));
    }
    Ok(answers)
}
