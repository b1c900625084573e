//! The workshop's exercises 4.1 B and C and 4.2 B and C: what each agent was told, word for word.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use yardmaster_sim::story::parse;
use yardmaster_tests::Events;

use crate::teller::Teller;

/// Tells a story that the house also tells elsewhere, and gives every message that came on `work.agents.<agent>`,
/// agent by agent, each in the order in which it came.
async fn told_in(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("stories/{name}.story"));
    let story = parse(&std::fs::read_to_string(path).expect("it is there")).expect(name);
    let mut teller = Teller::open(&story).await;
    let direct = Events::listen_to(&teller.house.nats, "work.agents.*").await;
    for line in &story.lines {
        teller.line(&line.verb).await.unwrap_or_else(|why| panic!("{name}, line {}: {why}", line.number));
    }
    let about = |e: &Value| e["request"].is_string();
    let published = teller.house.events.all().iter().filter(|e| about(e)).count();
    let delivered = direct.clone();
    direct.wait_for("all copies", |_| delivered.all().iter().filter(|e| about(e)).count() >= published).await;
    // Who is told that the base has moved is told beside the events, at no fixed place among them.
    let (events, beside): (Vec<_>, Vec<_>) = direct.messages().into_iter().partition(|m| about(&m.event));
    let mut by_agent: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for message in events.into_iter().chain(beside) {
        let agent = message.subject.trim_start_matches("work.agents.").to_owned();
        by_agent.entry(agent).or_default().push(sentences(&message.event));
    }
    let text =
        by_agent.iter().map(|(agent, told)| format!("{agent}:\n{}", told.join(""))).collect::<String>();
    let text = teller.house.redacted(&text);
    teller.close().await;
    text
}

/// What the event is, and all that it says in words.
fn sentences(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let kind = text(&event["type"]).trim_start_matches("merge_").to_owned();
    let mut lines = vec![format!("  {} {kind}", text(&event["branch"]).trim_start_matches("work/"))];
    match kind.as_str() {
        "base_moved" => {
            let landed: Vec<String> = list(&event["landed"]).iter().map(|l| text(&l["request"])).collect();
            let paths: Vec<String> = list(&event["paths"]).iter().map(text).collect();
            let concerns: Vec<String> =
                list(&event["concerns"]).iter().map(|c| text(&c["request"])).collect();
            let (landed, paths, concerns) = (landed.join(" "), paths.join(" "), concerns.join(" "));
            lines.push(format!("    {landed} landed, which touches {paths}; concerns {concerns}"));
        }
        "queued" => lines.push(format!("    position {}, {}", event["position"], text(&event["pressure"]))),
        "testing" => {
            let behind: Vec<String> = list(&event["behind"]).iter().map(text).collect();
            lines.push(format!(
                "    on top of: {}",
                if behind.is_empty() { "main".to_owned() } else { behind.join(" ") }
            ));
        }
        _ => {}
    }
    for (reason, blocker) in list(&event["reason"]).iter().zip(list(&event["blockers"])) {
        lines.push(format!("    {} ({} {})", text(reason), text(&blocker["kind"]), text(&blocker["with"])));
        lines.push(format!("    until {}", text(&blocker["until"])));
    }
    if kind == "failed" {
        let evidence = &event["evidence"];
        lines.push(format!(
            "    {}, blame {}: {}",
            text(&event["cause"]),
            text(&event["blame"]),
            text(&evidence["message"])
        ));
        lines.extend(list(&evidence["with"]).iter().map(|w| format!("    with {}", text(w))));
        lines.extend(list(&event["next"]).iter().map(|n| format!("    $ {}", text(n))));
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_edit_one_line() {
    insta::assert_snapshot!(told_in("50-same-file-blocked-until-resolved").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn infrastructure_backend_and_frontend_wait() {
    insta::assert_snapshot!(told_in("51-backend-frontend-infrastructure").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_side_by_side() {
    insta::assert_snapshot!(told_in("52-three-instances-side-by-side").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_and_one_file() {
    insta::assert_snapshot!(told_in("53-two-instances-one-file").await);
}
