use serde_json::Value;
use yardmaster_tests::{House, yardmaster};

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

/// What a person sees of it.
async fn printed(house: &House) -> String {
    let mut queue = tokio::process::Command::new(yardmaster());
    let out = queue.args(["queue", "--nats-url", &house.url]).env("NO_COLOR", "1").output().await;
    String::from_utf8_lossy(&out.expect("the program runs").stdout).into_owned()
}

/// All three words, each in the event that answers an announcement, in what `yardmaster queue` prints and in what
/// it gives to programs; on the way down each level is left later than it was come to.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_says_slow_then_stop_and_takes_it_back() {
    let (mut house, keeper) = House::held().await;
    let window = [("YARDMASTER__QUEUE__WINDOW_MIN", "1"), ("YARDMASTER__QUEUE__WINDOW_MAX", "1")];
    house.start_with(&[], &window).await;
    let names: Vec<String> = (1..=9).map(|n| format!("ann/{n}")).collect();
    for (n, name) in (1..).zip(&names) {
        house.branch(name, &[(name, "x\n")]);
        house.announce("ann", name).await;
        let queued = house.events.of_type(name, "queued").await;
        let word = ["steady", "slow", "stop"][usize::from(n > 3) + usize::from(n > 8)];
        assert_eq!((&queued["pressure"], &queued["pending"]), (&word.into(), &n.into()), "{queued}");
        let says = match word {
            "slow" => Some("the queue is long: finish what is started before starting more"),
            "stop" => Some("the queue is very long: start nothing new for now"),
            _ => None,
        };
        let text = printed(&house).await;
        let said = text.lines().find_map(|line| line.trim().strip_prefix("⏸ the queue is"));
        assert_eq!(said.map(|rest| format!("the queue is{rest}")).as_deref(), says, "{text}");
    }
    let stop = wait_for(&house, "stop").await;
    assert_eq!(stop["why"], "9 requests are pending: start nothing new, skip a turn");
    keeper.open_wide();
    for name in &names {
        assert_eq!(house.events.end_of(name).await["type"], "merge_complete");
    }
    wait_for(&house, "steady").await;
    let words = [("slow", 4), ("stop", 9), ("slow", 6), ("steady", 2)];
    assert_eq!(told(&house), words.map(|(word, n)| (word.to_owned(), n)));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}
