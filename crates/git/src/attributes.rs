/// The largest `.gitattributes` that is read.
const MAX_BYTES: usize = 256 * 1024;

/// The lines of one `.gitattributes` that choose how files are merged.
#[derive(Debug, Clone, Default)]
pub(crate) struct MergeRules {
    patterns: Vec<Vec<u8>>,
    /// Something in the file is beyond this reading: it applies to everything.
    everything: bool,
}

impl MergeRules {
    pub(crate) fn parse(text: &[u8]) -> MergeRules {
        if text.len() > MAX_BYTES {
            return MergeRules { patterns: Vec::new(), everything: true };
        }
        let mut rules = MergeRules::default();
        for line in text.split(|b| *b == b'\n') {
            let mut words = line.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty());
            let Some(pattern) = words.next() else { continue };
            if pattern.starts_with(b"#") || !words.any(chooses_a_merge) {
                continue;
            }
            // A macro's name may be used anywhere; a quoted pattern may contain anything.
            if pattern.starts_with(b"[attr]") || pattern.starts_with(b"\"") {
                rules.everything = true;
            } else {
                rules.patterns.push(pattern.to_vec());
            }
        }
        rules
    }

    /// Whether they may say how a file of this name, anywhere below, is merged. Errs towards yes.
    pub(crate) fn may_concern(&self, name: &[u8]) -> bool {
        self.everything || self.patterns.iter().any(|pattern| may_match(pattern, name))
    }
}

fn chooses_a_merge(attribute: &[u8]) -> bool {
    let name = attribute.strip_prefix(b"-").or_else(|| attribute.strip_prefix(b"!")).unwrap_or(attribute);
    let name = name.split(|b| *b == b'=').next().unwrap_or_default();
    name == b"merge" || name == b"binary"
}

/// Only the last component is looked at, and of it what stands before and after the wildcards.
fn may_match(pattern: &[u8], name: &[u8]) -> bool {
    let last = pattern.rsplit(|b| *b == b'/').next().unwrap_or_default();
    // A pattern that ends with a slash is beyond this reading.
    if last.is_empty() {
        return true;
    }
    let Some(first) = last.iter().position(|b| WILD.contains(b)) else { return name == last };
    let after = match last.iter().rposition(|b| WILD.contains(b)) {
        // Behind anything else than a star the next character may not stand for itself.
        Some(end) if last[first..=end].iter().all(|b| *b == b'*') => &last[end + 1..],
        _ => b"",
    };
    name.starts_with(&last[..first]) && name.ends_with(after)
}

const WILD: &[u8] = b"*?[\\";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rules_about_merging_count() {
        let rules = MergeRules::parse(
            b"# x merge=union\n* text=auto\n*.png binary\nCHANGELOG.md merge=union\n/docs/*.lock -merge\n",
        );
        for concerned in ["logo.png", "CHANGELOG.md", "Cargo.lock"] {
            assert!(rules.may_concern(concerned.as_bytes()), "{concerned}");
        }
        for free in ["main.rs", "changelog.md", "png"] {
            assert!(!rules.may_concern(free.as_bytes()), "{free}");
        }
    }

    #[test]
    fn what_is_not_understood_concerns_everything() {
        for text in ["[attr]ours merge=ours", "\"a b\" merge=union", "src/** -merge", "a?c merge=x"] {
            assert!(MergeRules::parse(text.as_bytes()).may_concern(b"anything"), "{text}");
        }
    }

    #[test]
    fn what_stands_around_wildcards_has_to_be_there() {
        let may = |pattern: &str, name: &str| may_match(pattern.as_bytes(), name.as_bytes());
        for (pattern, name) in [
            ("/t0110/url-*", "url-1"),
            ("url-*", "url-"),
            ("a*b*c", "abc"),
            ("*.[ch]", "x.c"),
            ("v?.txt", "v1.txt"),
            ("\\#x", "#x"),
            ("[a]*b", "axb"),
            ("a*\\*", "ax*"),
            ("**/x", "x"),
            ("dir/", "anything"),
        ] {
            assert!(may(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("/t0110/url-*", "Makefile"), ("a*c", "ab"), ("*.png", "png"), ("v?.txt", "w1")]
        {
            assert!(!may(pattern, name), "{pattern} {name}");
        }
    }

    proptest::proptest! {
        /// A file of rules may hold anything; a rule for exactly this name is never overlooked.
        #[test]
        fn no_file_of_rules_panics_or_hides_a_rule(
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            name in "[a-z]{1,8}",
        ) {
            let rule = format!("\n{name} merge=union\n");
            let text = [noise.as_slice(), rule.as_bytes()].concat();
            assert!(MergeRules::parse(&text).may_concern(name.as_bytes()));
        }
    }
}
