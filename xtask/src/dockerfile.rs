use std::path::Path;

const INSTRUCTIONS: &[&str] = &[
    "ARG",
    "FROM",
    "RUN",
    "COPY",
    "ADD",
    "ENV",
    "WORKDIR",
    "USER",
    "VOLUME",
    "EXPOSE",
    "LABEL",
    "ENTRYPOINT",
    "CMD",
    "HEALTHCHECK",
    "STOPSIGNAL",
    "SHELL",
    "ONBUILD",
];

struct Instruction {
    line: usize,
    name: String,
    rest: String,
}

/// What is wrong with a Dockerfile, as far as can be seen without building it. `context` is the build context.
pub(crate) fn problems(text: &str, context: &Path) -> Vec<String> {
    let instructions = instructions(text);
    let mut problems = Vec::new();
    let mut stages: Vec<String> = Vec::new();
    for i in &instructions {
        if !INSTRUCTIONS.contains(&i.name.as_str()) {
            problems.push(format!("line {}: there is no instruction {}", i.line, i.name));
        }
        match i.name.as_str() {
            "FROM" => from(i, &mut stages, &mut problems),
            "COPY" => copy(i, &stages, context, &mut problems),
            "ENTRYPOINT" | "CMD" if !i.rest.starts_with('[') => {
                problems.push(format!(
                    "line {}: {} is not a JSON array, so signals go to a shell",
                    i.line, i.name
                ));
            }
            _ => {}
        }
    }
    final_stage(&instructions, &mut problems);
    problems
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut found: Vec<Instruction> = Vec::new();
    let mut continued = false;
    for (index, raw) in text.lines().enumerate() {
        let content = raw.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let body = content.strip_suffix('\\').unwrap_or(content).trim_end();
        match found.last_mut().filter(|_| continued) {
            Some(last) => last.rest = format!("{} {body}", last.rest),
            None => {
                let (name, rest) = body.split_once(char::is_whitespace).unwrap_or((body, ""));
                let (name, rest) = (name.to_ascii_uppercase(), rest.trim().to_owned());
                found.push(Instruction { line: index + 1, name, rest });
            }
        }
        continued = content.ends_with('\\');
    }
    found
}

fn from(i: &Instruction, stages: &mut Vec<String>, problems: &mut Vec<String>) {
    let words: Vec<&str> = i.rest.split_whitespace().filter(|w| !w.starts_with("--")).collect();
    let image = words.first().copied().unwrap_or("");
    let known = stages.iter().any(|stage| stage == image);
    // The colon of a registry's port is not the one in front of a tag.
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map(|(_, tag)| tag);
    if !known && tag.is_none_or(|tag| tag.is_empty() || tag == "latest") {
        problems.push(format!("line {}: image `{image}` is not pinned to a version", i.line));
    }
    let name = match words.as_slice() {
        [_, word, name] if word.eq_ignore_ascii_case("as") => (*name).to_owned(),
        _ => stages.len().to_string(),
    };
    stages.push(name);
}

fn copy(i: &Instruction, stages: &[String], context: &Path, problems: &mut Vec<String>) {
    let words: Vec<&str> = i.rest.split_whitespace().collect();
    if let Some(from) = words.iter().find_map(|w| w.strip_prefix("--from=")) {
        if !stages.iter().any(|stage| stage == from) {
            problems.push(format!("line {}: there is no stage `{from}` above", i.line));
        }
        return;
    }
    let files: Vec<&&str> = words.iter().filter(|w| !w.starts_with("--")).collect();
    let sources = files.split_last().map_or(&[][..], |(_, sources)| sources);
    if sources.is_empty() {
        problems.push(format!("line {}: COPY needs a source and a destination", i.line));
    }
    for source in sources {
        if !context.join(source).exists() {
            problems.push(format!("line {}: `{source}` is not in the build context", i.line));
        }
    }
}

fn final_stage(instructions: &[Instruction], problems: &mut Vec<String>) {
    let Some(start) = instructions.iter().rposition(|i| i.name == "FROM") else {
        problems.push("there is no FROM".to_owned());
        return;
    };
    let stage = &instructions[start..];
    let last = |name: &str| stage.iter().rev().find(|i| i.name == name).map(|i| i.rest.as_str());
    for needed in ["ENTRYPOINT", "HEALTHCHECK", "VOLUME"] {
        if last(needed).is_none() {
            problems.push(format!("the final stage has no {needed}"));
        }
    }
    let user = last("USER").map(|u| u.split(':').next().unwrap_or(u));
    if user.is_none_or(|user| user == "root" || user == "0") {
        problems.push("the final stage runs as root".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::problems;

    const GOOD: &str = "FROM rust:1.0-slim AS build\nRUN cargo build \\\n    # in between\n    --release\nFROM debian:12\n\
                        COPY --from=build /x /y\nUSER 10001:10001\nVOLUME /v\nHEALTHCHECK CMD [\"y\"]\nENTRYPOINT [\"y\"]\n";

    fn of(text: &str) -> Vec<String> {
        problems(text, Path::new("/nowhere"))
    }

    #[test]
    fn a_good_one_has_no_problem() {
        assert_eq!(of(GOOD), Vec::<String>::new());
    }

    #[test]
    fn each_mistake_is_named() {
        let mistakes = [
            ("FROM debian:12", "FROM debian", "line 5: image `debian` is not pinned to a version"),
            (
                "FROM debian:12",
                "FROM host:5000/debian",
                "line 5: image `host:5000/debian` is not pinned to a version",
            ),
            ("--from=build", "--from=bild", "line 6: there is no stage `bild` above"),
            ("COPY --from=build /x /y", "COPY x /y", "line 6: `x` is not in the build context"),
            ("USER 10001:10001", "USER 0", "the final stage runs as root"),
            ("USER 10001:10001\n", "", "the final stage runs as root"),
            ("HEALTHCHECK CMD [\"y\"]\n", "", "the final stage has no HEALTHCHECK"),
            (
                "ENTRYPOINT [\"y\"]",
                "ENTRYPOINT y",
                "line 10: ENTRYPOINT is not a JSON array, so signals go to a shell",
            ),
            ("RUN cargo", "RAN cargo", "line 2: there is no instruction RAN"),
        ];
        for (good, bad, problem) in mistakes {
            assert_eq!(of(&GOOD.replace(good, bad)), [problem], "{good} -> {bad}");
        }
    }
}
