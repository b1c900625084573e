use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// The most globs that one project file may have.
pub const MAX_GLOBS: usize = 1_000;
/// The longest glob, in bytes.
pub const MAX_GLOB_BYTES: usize = 256;

/// Paths of a repository by globs, all matched at once.
///
/// A glob is read from the root of the repository: `*` and `?` stop at `/`, `**` does not, `[ab]` and
/// `{a,b}` are alternatives. One whose last part is plain, such as `deploy` or `deploy/`, also stands
/// for all that is below it. Upper and lower case differ.
#[derive(Debug, Clone, Default)]
pub struct Globs(GlobSet);

impl Globs {
    /// Reads globs.
    ///
    /// # Errors
    /// Which glob cannot be used, and why.
    pub fn new<'a>(globs: impl IntoIterator<Item = &'a String>) -> Result<Globs, String> {
        let mut set = GlobSetBuilder::new();
        for glob in globs {
            for pattern in patterns(glob)? {
                let mut builder = GlobBuilder::new(&pattern);
                let built = builder.literal_separator(true).backslash_escape(true).build();
                set.add(built.map_err(|e| format!("glob `{}`: {}", shown(glob), e.kind()))?);
            }
        }
        set.build().map(Globs).map_err(|e| format!("the globs are too much together: {}", e.kind()))
    }

    /// Whether any of the globs fits.
    pub fn matches(&self, path: &str) -> bool {
        self.0.is_match(path)
    }
}

/// Which paths concern something: those that fit one of the globs and none of those with a `!` in front. With
/// a `!` in front of all of them: every path but those.
#[derive(Debug, Clone, Default)]
pub struct PathFilter {
    only: Option<Globs>,
    not: Globs,
}

impl PathFilter {
    /// Reads globs, some of them with `!` in front.
    ///
    /// # Errors
    /// Which glob cannot be used, and why.
    pub fn new(globs: &[String]) -> Result<PathFilter, String> {
        let not: Vec<String> = globs.iter().filter_map(|g| Some(g.strip_prefix('!')?.to_owned())).collect();
        let only: Vec<&String> = globs.iter().filter(|g| !g.starts_with('!')).collect();
        let only = if only.is_empty() { None } else { Some(Globs::new(only)?) };
        Ok(PathFilter { only, not: Globs::new(&not)? })
    }

    /// Whether `path` is one of them.
    pub fn matches(&self, path: &str) -> bool {
        self.only.as_ref().is_none_or(|globs| globs.matches(path)) && !self.not.matches(path)
    }
}

fn shown(glob: &str) -> String {
    glob.chars().take(80).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A glob as the matcher knows it: what it says, and what is below it.
fn patterns(glob: &str) -> Result<Vec<String>, String> {
    let bad = |why: &str| Err(format!("glob `{}` {why}", shown(glob)));
    if glob.len() > MAX_GLOB_BYTES {
        return bad(&format!("has {} bytes; at most {MAX_GLOB_BYTES} are taken", glob.len()));
    }
    let path = glob.strip_prefix('/').unwrap_or(glob);
    let plain = path.strip_suffix('/').unwrap_or(path);
    if plain.is_empty() {
        return bad("names no path: write `**` for all of them");
    }
    if plain.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return bad("is not written from the root of the repository, such as `api/**`");
    }
    let below = format!("{plain}/**");
    let last = plain.rsplit('/').next().unwrap_or(plain);
    if path != plain {
        return Ok(vec![below]);
    }
    let is_plain = !last.contains(['*', '?', '[', ']', '{', '}', '\\', ',']);
    Ok(if is_plain { vec![plain.to_owned(), below] } else { vec![plain.to_owned()] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting<'a>(glob: &str, paths: &[&'a str]) -> Vec<&'a str> {
        let globs = Globs::new(&[glob.to_owned()]).expect(glob);
        paths.iter().filter(|p| globs.matches(p)).copied().collect()
    }

    #[test]
    fn globs_are_read_from_the_root() {
        let paths = ["api", "api/a.rs", "api/v1/b.rs", "web/api/c.rs", "apis/d.rs", "a.rs", "API/e.rs"];
        let cases: [(&str, &[&str]); 9] = [
            ("api/**", &["api/a.rs", "api/v1/b.rs"]),
            ("/api/**", &["api/a.rs", "api/v1/b.rs"]),
            ("api", &["api", "api/a.rs", "api/v1/b.rs"]),
            ("api/", &["api/a.rs", "api/v1/b.rs"]),
            ("api/*", &["api/a.rs"]),
            ("*.rs", &["a.rs"]),
            ("**/*.rs", &["api/a.rs", "api/v1/b.rs", "web/api/c.rs", "apis/d.rs", "a.rs", "API/e.rs"]),
            ("**/api", &["api", "api/a.rs", "api/v1/b.rs", "web/api/c.rs"]),
            ("{web,apis}/**", &["web/api/c.rs", "apis/d.rs"]),
        ];
        for (glob, expected) in cases {
            assert_eq!(fitting(glob, &paths), expected, "{glob}");
        }
        assert_eq!(fitting("**", &paths), paths);
        assert_eq!(fitting("a\\*b", &["a*b", "axb"]), ["a*b"]);
    }

    #[test]
    fn what_has_a_mark_in_front_is_left_out() {
        let fits = |globs: &[&str], path: &str| {
            let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
            PathFilter::new(&globs).expect("globs").matches(path)
        };
        assert!(fits(&["api/**", "!api/docs/**"], "api/a.rs"));
        assert!(!fits(&["!api/docs/**", "api/**"], "api/docs/a.md") && !fits(&["api/**"], "web/a.rs"));
        assert!(fits(&["!docs"], "api/a.rs") && !fits(&["!docs"], "docs/a.md"));
        assert!(fits(&[], "a"));
        assert!(PathFilter::new(&["!".to_owned()]).is_err());
    }

    #[test]
    fn globs_that_can_never_fit_are_mistakes() {
        let long = "x".repeat(MAX_GLOB_BYTES + 1);
        for glob in ["", "/", "//", "./api", "../api", "api//x", "a/[", "{a", &long] {
            let told = Globs::new(&[glob.to_owned()]).expect_err(glob);
            assert!(told.contains("glob `"), "{told}");
        }
    }
}
