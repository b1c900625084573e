use crate::House;

/// How a start that does not come up ends.
#[derive(Debug)]
pub struct Refused {
    /// The exit code.
    pub code: Option<i32>,
    /// What it prints for people: everything but the log, with what differs from run to run named instead.
    pub text: String,
}

impl House {
    /// Starts a daemon that is to refuse to serve.
    ///
    /// # Panics
    /// When it serves.
    pub async fn refused(&self, more: &[&str], env: &[(&str, &str)]) -> Refused {
        let mut daemon = self.launch_with(more, env);
        let (code, log) = daemon.ended().await;
        assert!(!log.lines().any(|l| l.starts_with("ready")), "it served:\n{log}");
        let told: Vec<&str> = log.lines().filter(|l| !l.starts_with('{')).collect();
        Refused { code, text: self.redacted(&told.join("\n")) }
    }

    /// The text with paths, addresses and ids of this house named instead.
    pub fn redacted(&self, text: &str) -> String {
        let here = self.dir.path().to_string_lossy().into_owned();
        let text = text.replace(&here, "[house]").replace(&self.url, "[nats]");
        hide(&text)
    }
}

/// Ports and object ids.
fn hide(text: &str) -> String {
    let mut out = String::new();
    for (i, word) in text.split_inclusive(|c: char| !(c.is_ascii_alphanumeric())).enumerate() {
        let body = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        let hex = body.chars().all(|c| c.is_ascii_hexdigit());
        let is_port = i > 0 && out.ends_with("127.0.0.1:") && body.chars().all(|c| c.is_ascii_digit());
        let with = match body.len() {
            40 if hex => "[id]",
            10 | 12 if hex && body.contains(|c: char| c.is_ascii_digit()) => "[short id]",
            1.. if is_port => "[port]",
            _ => body,
        };
        out.push_str(with);
        out.push_str(&word[body.len()..]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::hide;

    #[test]
    fn ids_and_ports_are_hidden_and_nothing_else() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let text = format!("at {id}: see 0123456789ab, nats://127.0.0.1:4222/ and line 12 of 2026");
        assert_eq!(hide(&text), "at [id]: see [short id], nats://127.0.0.1:[port]/ and line 12 of 2026");
    }
}
