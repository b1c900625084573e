use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use yardmaster_protocol::{AgentName, BranchName, CommitId, MAX_PAYLOAD_BYTES, Requirement, SubmitReply};

use crate::commands::wait;
use crate::connection::Connection;
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, Out, style};

const USAGE: &str = "\
    yardmaster submit BRANCH --agent NAME --requirement TEXT [--wait [--timeout TIME]] [OPTIONS]
       \
    yardmaster submit --from-file FILE|- [OPTIONS]";

#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE)]
pub(crate) struct Args {
    /// The branch, pushed to the remote already.
    #[arg(required_unless_present = "from_file")]
    branch: Option<BranchName>,
    /// Who did the work.
    #[arg(long, value_name = "NAME", env = "YARDMASTER_AGENT", required_unless_present = "from_file")]
    agent: Option<AgentName>,
    /// What the work is for, such as REQ-012.
    #[arg(long, value_name = "TEXT", required_unless_present = "from_file")]
    requirement: Option<Requirement>,
    /// The head that is offered, in full; refused if the branch is elsewhere.
    #[arg(long, value_name = "ID")]
    commit: Option<CommitId>,
    /// Where it is to land, if not on the daemon's own target.
    #[arg(long, value_name = "BRANCH")]
    target: Option<BranchName>,
    /// 1 infrastructure, 2 backend, 3 frontend; else by the systems, else 2.
    #[arg(long, value_name = "1|2|3", value_parser = clap::value_parser!(u8).range(1..=3))]
    priority: Option<u8>,
    /// A request, branch or requirement that must land first; as often as needed.
    #[arg(long, value_name = "WHAT")]
    depends_on: Vec<String>,
    /// One line for the merge commit.
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Paths that were changed; git's own diff decides.
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    files: Vec<String>,
    /// Systems that were touched, such as backend.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    systems: Vec<String>,
    /// The announcement as JSON, `-` for stdin; flags add what it leaves out.
    #[arg(long, value_name = "FILE|-")]
    from_file: Option<PathBuf>,
    /// Stay until it has landed or failed, and end with the exit code of `wait`.
    #[arg(long)]
    wait: bool,
    /// Stay no longer than this, as 90s or 10m.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = wait::duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) async fn run(args: Args, out: Out) -> Result<Exit, CliError> {
    let announcement = args.announcement()?;
    let client = args.connection.open().await?.client();
    let reply = client.submit(&announcement).await?;
    let branch = announcement.pointer("/merge_info/branch").and_then(Value::as_str).unwrap_or_default();
    if !args.wait {
        if out.json {
            out.object(&reply)?;
            return Ok(Exit::DONE);
        }
        let note = match reply.repeated {
            true => client.request_status(&reply.request.to_string()).await.ok().map(|v| v.row.note),
            false => None,
        };
        out.line(told(&reply, branch, &note.unwrap_or_default()))?;
        return Ok(Exit::DONE);
    }
    out.progress(&told(&reply, branch, ""));
    wait::until_ended(&client, &reply.request.to_string(), args.timeout, out).await
}

fn told(reply: &SubmitReply, branch: &str, note: &str) -> Line {
    let id = Line::styled(style::BOLD, reply.request.to_string());
    let place = reply.position.map(|p| format!(" at {p}")).unwrap_or_default();
    let (_, colour) = style::of_state(&reply.state);
    if reply.repeated {
        let note = if note.is_empty() { String::new() } else { format!(" {note}") };
        return id.text(" is this same work, ").add(colour, format!("{}{place}", reply.state)).text(note);
    }
    id.add(colour, format!(" {}{place}", reply.state)).add(style::DIM, format!(" · {branch}"))
}

impl Args {
    /// The whole message: what the file says, and what the flags add.
    fn announcement(&self) -> Result<Value, CliError> {
        let mut message = match &self.from_file {
            None => json!({}),
            Some(path) => read_object(path)?,
        };
        if message.get("type").is_none() {
            let info =
                if message.get("merge_info").is_some() { message["merge_info"].take() } else { message };
            message = json!({"type": "ready_to_merge", "merge_info": info});
        }
        let Some(Value::Object(info)) = message.get_mut("merge_info") else {
            return Err(CliError::Usage(
                "`merge_info` must be an object with agent, branch and requirement".into(),
            ));
        };
        self.add_to(info);
        Ok(message)
    }

    fn add_to(&self, info: &mut Map<String, Value>) {
        let list = |items: &Vec<String>| (!items.is_empty()).then(|| json!(items));
        let flags = [
            ("branch", self.branch.as_ref().map(|v| json!(v))),
            ("agent", self.agent.as_ref().map(|v| json!(v))),
            ("requirement", self.requirement.as_ref().map(|v| json!(v))),
            ("commit", self.commit.as_ref().map(|v| json!(v))),
            ("target", self.target.as_ref().map(|v| json!(v))),
            ("priority", self.priority.map(|v| json!(v))),
            ("title", self.title.as_ref().map(|v| json!(v))),
            ("depends_on", list(&self.depends_on)),
            ("files_changed", list(&self.files)),
            ("systems_touched", list(&self.systems)),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                info.entry(key).or_insert(value);
            }
        }
    }
}

fn read_object(path: &Path) -> Result<Value, CliError> {
    let value = read_json(path)?;
    let wrong = || CliError::File { path: path.to_owned(), why: "it is JSON, but not an object".to_owned() };
    if value.is_object() { Ok(value) } else { Err(wrong()) }
}

/// A file's JSON, `-` for that of stdin, no longer than a message may be.
pub(crate) fn read_json(path: &Path) -> Result<Value, CliError> {
    let wrong = |why: String| CliError::File { path: path.to_owned(), why };
    let limit = MAX_PAYLOAD_BYTES as u64 + 1;
    let mut text = Vec::new();
    if path == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
    } else {
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        file.take(limit).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
    }
    if text.len() > MAX_PAYLOAD_BYTES {
        return Err(wrong(format!("it has more than {MAX_PAYLOAD_BYTES} bytes, the most that are taken")));
    }
    serde_json::from_slice(&text).map_err(|e| wrong(format!("it is not JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Alone {
        #[command(flatten)]
        args: Args,
    }

    fn announcement(line: &[&str]) -> Result<Value, CliError> {
        let line = std::iter::once("submit").chain(line.iter().copied());
        Alone::try_parse_from(line).expect("the line is understood").args.announcement()
    }

    #[test]
    fn flags_become_the_message_of_the_contract() {
        let line = "roy/x --agent roy --requirement REQ-1 --priority 1 --files a,b --systems backend --depends-on r3";
        let message = announcement(&line.split(' ').collect::<Vec<_>>()).expect("it is one");
        insta::assert_json_snapshot!(message);
        let bytes = message.to_string();
        assert!(yardmaster_protocol::Incoming::parse(bytes.as_bytes()).is_ok(), "{bytes}");
    }

    #[test]
    fn flags_add_what_a_file_leaves_out_and_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("offer.json");
        let name = file.to_str().expect("it is text");
        let flags = ["--agent", "flag", "--requirement", "R", "--from-file", name];
        for text in [
            r#"{"agent":"file","branch":"b","mood":"good"}"#,
            r#"{"merge_info":{"agent":"file","branch":"b","mood":"good"}}"#,
            r#"{"type":"ready_to_merge","merge_info":{"agent":"file","branch":"b","mood":"good"}}"#,
        ] {
            std::fs::write(&file, text).expect("writes");
            let expected = json!({"type": "ready_to_merge",
                "merge_info": {"agent": "file", "branch": "b", "mood": "good", "requirement": "R"}});
            assert_eq!(announcement(&flags).expect(text), expected, "{text}");
        }
        for (text, said) in
            [("[]", "not an object"), ("{", "not JSON"), (r#"{"merge_info":3}"#, "must be an object")]
        {
            std::fs::write(&file, text).expect("writes");
            let error = announcement(&flags).expect_err(text).to_string();
            assert!(error.contains(said), "{text}: {error}");
        }
        std::fs::write(&file, vec![b' '; MAX_PAYLOAD_BYTES + 1]).expect("writes");
        assert!(announcement(&flags).expect_err("too large").to_string().contains("more than 65536 bytes"));
    }
}
