//! Pictures of what people and programs read, at 80 columns. They may not change by accident.

use anstream::adapter::strip_str;
use yardmaster_bus::BusError;
use yardmaster_daemon::{ServeError, SettingsError};
use yardmaster_protocol::{
    CheckReply, ErrorBody, ParallelReply, QueueReply, RequestView, ServiceErrorCode, StatusReply,
};

use crate::commands::{check, queue, should_parallelize, status, wait};
use crate::error::CliError;
use crate::exit::Exit;
use crate::screen::{Line, panel, style};
use crate::story;

const WIDTH: usize = 80;

fn picture(lines: &[Line]) -> String {
    let drawn: Vec<String> =
        lines.iter().map(|l| strip_str(&l.ansi()).to_string().trim_end().to_owned()).collect();
    drawn.join("\n")
}

fn no_wider(lines: &[Line]) {
    for line in lines {
        assert!(line.width() <= WIDTH, "{} columns: {}", line.width(), strip_str(&line.ansi()));
    }
}

fn read<T: serde::de::DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("the example is of that type")
}

fn row(id: u64, state: &str, position: &str, note: &str) -> String {
    format!(
        r#"{{"request":"r{id}","agent":"an-agent-with-a-long-name","branch":"roy/req-0{id}-a-branch-with-a-rather-long-name",
        "requirement":"REQ-{id}","state":"{state}","position":{position},"note":"{note}","waited_ms":{}}}"#,
        id * 61_500
    )
}

fn full_queue() -> QueueReply {
    let requests = [
        row(7, "landing", "1", "green, being pushed"),
        row(8, "testing", "2", "on top of r7"),
        row(9, "green", "3", "waits for r8 to land"),
        row(10, "blocked", "4", "does not merge with r8 (dan/x by dan), which is ahead of it: lib/日本語.sh"),
        row(11, "queued", "5", "waits for its turn"),
        row(12, "arriving", "null", "its head is being fetched"),
    ];
    let ended = [row(6, "landed", "null", "as 1a2b3c4d5e"), row(5, "superseded", "null", "by r6")];
    read(&format!(
        r#"{{"targets":[{{"target":"main","tip":"1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d","window":4,"pending":6,"testing":1,
        "hold":null}},{{"target":"release/2026-long-term-support","tip":null,"window":4,"pending":0,"testing":0,
        "hold":"its .yardmaster.toml cannot be read: `[gate]` has no step"}}],
        "requests":[{}],"ended":[{}],"pressure":"slow"}}"#,
        requests.join(","),
        ended.join(",")
    ))
}

fn failed() -> RequestView {
    read(
        r##"{"request":"r12","agent":"roy","branch":"roy/req-012","requirement":"REQ-012","state":"failed","position":null,
        "note":"step `unit` ended with 1","waited_ms":192000,"target":"main","head":"1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        "files":["api/auth.rs","api/token.rs"],"blockers":[],"candidate":"2a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        "run":"r12-2a2b3c4d5e-1","commit":null,"failure":{"cause":"gate_red","blame":"own","evidence":{
        "message":"step `unit` ended with 1, merged onto `main` at 1a2b3c4d5e","step":"unit","exit_code":1,
        "log":"r12-2a2b3c4d5e-1","log_tail":"running 2 tests\n\u001b[31mtest token_expires ... FAILED\u001b[0m\n\nassertion failed: left == right, and a line that is longer than any screen of eighty columns can be\n"},
        "next":["yardmaster logs r12-2a2b3c4d5e-1","git fetch origin","git switch roy/req-012","git merge origin/main",
        "# run the gate's step `unit` here, mend what is red, commit and push",
        "yardmaster submit roy/req-012 --agent roy --requirement 'REQ-012 with a name that is longer than most'"]}}"##,
    )
}

#[test]
fn the_queue_fits() {
    let lines = queue::told(&full_queue(), WIDTH);
    no_wider(&lines);
    insta::assert_snapshot!(picture(&lines));
}

#[test]
fn a_wide_screen_shows_more() {
    insta::assert_snapshot!(picture(&queue::told(&full_queue(), 160)));
}

#[test]
fn an_empty_queue_says_so() {
    let empty: QueueReply = read(r#"{"targets":[],"requests":[],"ended":[],"pressure":"steady"}"#);
    assert!(picture(&queue::told(&empty, WIDTH)).contains("nothing is waiting"));
}

#[test]
fn the_daemon_in_a_few_lines() {
    let status: StatusReply = read(
        r#"{"version":"0.1.0","uptime_s":7500,"remote":"ssh://git@forge.example/team/project.git","slots":4,
        "targets":[{"target":"main","tip":null,"window":4,"pending":0,"testing":0,"hold":"the remote does not answer"}],
        "journal":1204,"landed":300,"failed":12,"merge_disagreements":1}"#,
    );
    let lines = status::told(&status, WIDTH);
    no_wider(&lines);
    insta::assert_snapshot!(picture(&lines));
}

#[test]
fn a_red_target_says_what_is_red_and_where_to_read() {
    let status: StatusReply = read(
        r#"{"version":"0.1.0","uptime_s":60,"remote":"/srv/project.git","slots":4,
        "targets":[{"target":"main","tip":"1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d","window":4,"pending":2,"testing":0,"hold":null,
        "tip_health":"red","tip_note":"`main` itself is red at 1a2b3c4d5e: step `unit` ended with 1 (`yardmaster logs base-1a2b3c4d5e-0f1e2d3c4b5a-7`)"}],
        "journal":12,"landed":3,"failed":0,"merge_disagreements":0}"#,
    );
    let lines = status::told(&status, WIDTH);
    no_wider(&lines);
    insta::assert_snapshot!(picture(&lines));
}

#[test]
fn a_failure_says_why_and_what_to_do() {
    let lines = wait::told(&failed(), WIDTH);
    no_wider(&lines);
    insta::assert_snapshot!(picture(&lines));
    assert_eq!(Exit::of_request(&failed()), Some(Exit(6)));
}

#[test]
fn a_failure_in_a_box() {
    let failure = failed().failure.expect("it failed");
    let lines = panel(style::RED, Line::plain("✗ gate red"), story::failure(&failure, WIDTH - 4), WIDTH);
    assert!(lines.iter().all(|l| l.width() == WIDTH), "{}", picture(&lines));
    insta::assert_snapshot!(picture(&lines));
}

#[test]
fn a_request_with_everything() {
    let lines = story::request(&failed(), WIDTH);
    no_wider(&lines);
    insta::assert_snapshot!(picture(&lines));
}

#[test]
fn what_waiting_gives_to_programs() {
    insta::assert_json_snapshot!(wait::object(&failed()));
    let superseded = RequestView { failure: None, ..failed() };
    let mut superseded = RequestView { row: superseded.row.clone(), ..superseded };
    superseded.row.state = "superseded".to_owned();
    superseded.row.note = "by r13".to_owned();
    let told = serde_json::to_value(wait::object(&superseded)).expect("it is JSON");
    assert_eq!(told["error"]["next"][0], "yardmaster wait r13");
    assert_eq!(Exit::of_request(&superseded), Some(Exit(8)));
}

#[test]
fn a_check_and_a_plan_fit() {
    let check: CheckReply = read(
        r#"{"branch":"roy/req-012","agent":"roy","target":"main","head":"1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d",
        "tip":"2a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d","verdict":"conflict","position":4,"target_conflict":[],
        "conflicts":[{"request":"r7","agent":"ann","branch":"ann/a-branch-with-a-rather-long-name","requirement":"REQ-7",
        "paths":["api/auth.rs","lib/日本語.sh"],"ahead":true}],
        "overlaps":[{"request":"r8","agent":"bob","branch":"bob/x","requirement":"REQ-8","paths":["api/auth.rs"],"ahead":false}],
        "not_compared":12,"files":["api/auth.rs"],"size":{"lines":40,"files":2},"gate":["lint","test"],
        "hold":"the remote does not answer: timed out",
        "dependencies":[{"name":"REQ-3","state":"pending","requests":["r3"]},{"name":"REQ-9","state":"unknown","requests":[]}],
        "blockers":[{"kind":"dependency","with":"REQ-9","until":"`REQ-9` is announced and has landed",
        "reason":"depends on `REQ-9`, which nobody has announced"}],
        "supersedes":["r2"],"contained":false,"pressure":"slow"}"#,
    );
    let plan: ParallelReply = read(
        r#"{"parallel":false,"sequences":[["REQ-1","REQ-2"],["REQ-3"]],"rounds":[["REQ-1","REQ-3"],["REQ-2"]],
        "ties":[{"kind":"files","between":["REQ-1","REQ-2"],"what":["api/auth.rs"],"reason":"REQ-1 and REQ-2 both touch api/auth.rs"}],
        "pending":[{"requirement":"REQ-3","request":"r8","agent":"bob","branch":"bob/x","paths":["web/login.ts"]}],"commits":2000}"#,
    );
    let (check, plan) = (check::told(&check, WIDTH), should_parallelize::told(&plan, WIDTH));
    no_wider(&check);
    no_wider(&plan);
    insta::assert_snapshot!(format!("{}\n\n{}", picture(&check), picture(&plan)));
}

fn errors() -> Vec<(CliError, u8)> {
    let url = || "nats://127.0.0.1:4222".to_owned();
    let nats = |error: BusError| CliError::Nats { error, source_of_url: "the default".to_owned() };
    let body = |code, message: &str| {
        CliError::Service(ErrorBody {
            code,
            message: message.to_owned(),
            retryable: false,
            next: vec!["yardmaster queue".to_owned()],
        })
    };
    vec![
        (nats(BusError::Unreachable { url: url(), why: "connection refused".into() }), 9),
        (nats(BusError::Denied { url: url(), why: "authorization violation".into() }), 4),
        (nats(BusError::TooOld { found: "2.9.10".into(), wanted: "2.12".into() }), 9),
        (body(ServiceErrorCode::NotFound, "no request, branch or requirement `r99` is known here"), 3),
        (body(ServiceErrorCode::Refused, "the queue is full"), 7),
        (body(ServiceErrorCode::Unreachable, "no yardmaster serves there"), 9),
        (body(ServiceErrorCode::Conflict, "r1 has ended already"), 5),
        (CliError::from(SettingsError { problems: vec!["`repo.remote` is missing".into()] }), 2),
        (CliError::Serve(ServeError::InUse { path: "/var/lib/yardmaster".into() }), 1),
        (
            CliError::TimedOut {
                message: "r1 has not ended after 5.0 s: it is queued at 3".into(),
                next: vec![],
            },
            124,
        ),
        (CliError::Usage("`merge_info` must be an object".into()), 2),
        (CliError::Interrupted, 130),
    ]
}

#[test]
fn errors_say_what_to_do_and_end_with_their_number() {
    let told: Vec<String> = errors()
        .iter()
        .map(|(error, number)| {
            assert_eq!(error.exit(), Exit(*number), "{error}");
            format!("{}\n[{number}]", picture(&error.lines()))
        })
        .collect();
    insta::assert_snapshot!(told.join("\n\n"));
}
