use git2::{Delta, DiffFile, DiffOptions, FileMode, Odb, Repository};
use yardmaster_protocol::CommitId;

use crate::objects::{commit_id, find_commit, merge_bases};
use crate::{GitError, Mirror};

/// The most files whose text is given of one change.
const MAX_TEXTS: usize = 500;
/// Larger files are left out, in bytes.
const MAX_TEXT_BYTES: usize = 512 * 1024;
/// The most that all of them may take, in bytes.
const MAX_ALL_BYTES: usize = 32 * 1024 * 1024;

/// So many of those that are left out are named.
const MAX_NAMED: usize = 3;

/// The text of the files that a change touches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// By path; a rename is a file that goes and one that comes.
    pub files: Vec<FileContents>,
    /// Wanted files that are left out, because they are too large or too many.
    pub skipped: u32,
    /// The first of these.
    pub skipped_paths: Vec<String>,
}

/// One file, before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContents {
    /// Where it is.
    pub path: String,
    /// What it was; none when it is new.
    pub old: Option<Vec<u8>>,
    /// What it is; none when it is removed.
    pub new: Option<Vec<u8>>,
}

impl Contents {
    fn skip(&mut self, path: &str) {
        self.skipped = self.skipped.saturating_add(1);
        if self.skipped_paths.len() < MAX_NAMED {
            self.skipped_paths.push(path.to_owned());
        }
    }
}

impl Mirror {
    /// Where `head` left the history of `tip`; none for unrelated histories.
    ///
    /// # Errors
    /// When one of the commits is not in the mirror.
    pub fn fork_point(&self, tip: CommitId, head: CommitId) -> Result<Option<CommitId>, GitError> {
        self.with_repository(|repo| {
            let (tip, head) = (find_commit(repo, tip)?.id(), find_commit(repo, head)?.id());
            Ok(merge_bases(repo, tip, head)?.first().copied().map(commit_id))
        })
    }

    /// What stands in the plain files that differ between two commits of the mirror and whose path is `wanted`.
    /// Bounded in files and bytes. Links, submodules and paths that are no UTF-8 are no plain files.
    ///
    /// # Errors
    /// When one of the commits is not in the mirror, or the object database cannot be read.
    pub fn changed_files(
        &self,
        from: CommitId,
        to: CommitId,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Contents, GitError> {
        self.with_repository(|repo| {
            let (from, to) = (find_commit(repo, from)?.tree()?, find_commit(repo, to)?.tree()?);
            let diff = repo.diff_tree_to_tree(Some(&from), Some(&to), Some(&mut DiffOptions::new()))?;
            let mut contents = Contents::default();
            let mut left = MAX_ALL_BYTES;
            for delta in diff.deltas().filter(|d| d.status() != Delta::Unmodified) {
                let Some(path) = path(&delta.new_file()).or_else(|| path(&delta.old_file())) else {
                    continue;
                };
                if !wanted(path) {
                    continue;
                }
                let sides = [plain(&delta.old_file()), plain(&delta.new_file())];
                if sides == [None, None] {
                    continue;
                }
                match texts(repo, sides, left)?.filter(|_| contents.files.len() < MAX_TEXTS) {
                    Some([old, new]) => {
                        left = left.saturating_sub([&old, &new].into_iter().flatten().map(Vec::len).sum());
                        contents.files.push(FileContents { path: path.to_owned(), old, new });
                    }
                    None => contents.skip(path),
                }
            }
            Ok(contents)
        })
    }
}

fn path<'a>(file: &DiffFile<'a>) -> Option<&'a str> {
    std::str::from_utf8(file.path_bytes()?).ok()
}

/// The blob of a plain file.
fn plain(file: &DiffFile<'_>) -> Option<git2::Oid> {
    let is_plain =
        matches!(file.mode(), FileMode::Blob | FileMode::BlobExecutable | FileMode::BlobGroupWritable);
    (is_plain && !file.id().is_zero()).then(|| file.id())
}

type Texts = [Option<Vec<u8>>; 2];

/// None when they are too large; what was not read has no price but its size.
fn texts(repo: &Repository, sides: [Option<git2::Oid>; 2], left: usize) -> Result<Option<Texts>, GitError> {
    let odb = repo.odb()?;
    let mut sum = 0_usize;
    for id in sides.into_iter().flatten() {
        let (size, _) = odb.read_header(id)?;
        sum = sum.saturating_add(size);
        if size > MAX_TEXT_BYTES || sum > left {
            return Ok(None);
        }
    }
    let [old, new] = sides;
    Ok(Some([text(&odb, old)?, text(&odb, new)?]))
}

fn text(odb: &Odb<'_>, id: Option<git2::Oid>) -> Result<Option<Vec<u8>>, GitError> {
    let Some(id) = id else { return Ok(None) };
    Ok(Some(odb.read(id)?.data().to_vec()))
}
