use serde_json::Value;
use yardmaster_tests::House;

fn told(house: &House) -> Vec<(String, u64)> {
    let all = house.events.messages();
    let pressure = all.iter().filter(|m| m.subject == "work.releases.pressure");
    pressure
        .map(|m| {
            let word = m.event["pressure"].as_str().expect("a word").to_owned();
            (word, m.event["pending"].as_u64().expect("a number"))
        })
        .collect()
}

async fn wait_for(house: &House, word: &str) -> Value {
    let fits = |e: &Value| e["type"] == "pressure" && e["pressure"] == word;
    house.events.wait_for(&format!("pressure {word}"), fits).await
}

/// Agents hear that the queue is long and that it is not any more, and nothing twice, also over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn agents_are_told_to_skip_a_turn_and_to_go_on() {
    let (mut house, keeper) = House::held().await;
    let names: Vec<String> = (1..=5).map(|n| format!("ann/{n}")).collect();
    for name in &names {
        house.branch(name, &[(name, "x\n")]);
    }
    let window = [("YARDMASTER__QUEUE__WINDOW_MIN", "1"), ("YARDMASTER__QUEUE__WINDOW_MAX", "1")];
    house.start_with(&[], &window).await;
    for name in &names {
        house.announce("ann", name).await;
        let queued = house.events.of_type(name, "queued").await;
        let pending = queued["pending"].as_u64().expect("a number");
        let expected = if pending > 3 { "slow" } else { "steady" };
        assert_eq!(queued["pressure"], expected, "{queued}");
    }
    wait_for(&house, "slow").await;
    let answer = house.nats.request("yardmaster.v1.queue", "{}".into()).await.expect("an answer");
    let queue: Value = serde_json::from_slice(&answer.payload).expect("it is JSON");
    assert_eq!(queue["pressure"], "slow");
    house.stop().await;
    house.start_with(&[], &window).await;
    keeper.open_wide();
    for name in &names {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete");
    }
    assert_eq!(told(&house), [("slow".to_owned(), 4), ("steady".to_owned(), 2)]);
    house.stop().await;
    house.check().await;
}
