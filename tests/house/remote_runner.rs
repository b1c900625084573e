use std::time::{Duration, Instant};

use serde_json::{Value, json};
use yardmaster_tests::{Daemon, House, PROJECT, yardmaster};

/// What a command prints with `--json`.
async fn asked(house: &House, args: &[&str]) -> Value {
    let out = tokio::process::Command::new(yardmaster())
        .args(args)
        .args(["--json", "--nats-url", &house.url])
        .output()
        .await
        .expect("the program starts");
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&out.stderr)))
}

/// Asks until what is printed fits: what runners say of themselves comes with the next of their words.
async fn asked_until(house: &House, args: &[&str], fits: impl Fn(&Value) -> bool) -> Value {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let told = asked(house, args).await;
        if fits(&told) {
            return told;
        }
        assert!(Instant::now() < until, "{args:?}: {told}");
    }
}

/// The daemon tests nothing itself: the runner gets the candidate, which is on no remote, runs the gate and
/// reports.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_elsewhere_tests_what_lands() {
    for more in [&[][..], &["--remote="]] {
        let mut house = House::build().await;
        house.branch("ann/one", &[("one.txt", "1\n")]);
        let big: String =
            (0..90_000).map(|n: u64| format!("{:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15))).collect();
        house.branch("bob/two", &[("two.txt", &big), ("red", "\n")]);
        house.start(&["--slots", "0"]).await;
        let mut runner = house.runner("elsewhere", more);
        runner.ready().await;
        house.announce("ann", "ann/one").await;
        assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
        house.announce("bob", "bob/two").await;
        let red = house.events.end_of("bob/two").await;
        assert_eq!((&red["type"], &red["cause"]), (&"merge_failed".into(), &"gate_red".into()), "{red}");
        let status = asked(&house, &["status"]).await;
        assert_eq!((&status["slots"], &status["runner_slots"]), (&json!(0), &json!(1)), "{status}");
        assert_eq!(status["runners"][0]["runner"], "elsewhere", "{status}");
        assert_eq!(runner.stop().await, Some(0));
        let status = asked(&house, &["status"]).await;
        assert_eq!((&status["runner_slots"], &status["runners"]), (&json!(0), &json!([])), "{status}");
        assert_eq!(house.stop().await, Some(0));
        house.check().await;
    }
}

/// Who dies in mid-run says nothing about the work: the run is repeated elsewhere, the request that is tested
/// beside it is not disturbed, and both land.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_dies_costs_nobody_anything() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&["--slots", "0"]).await;
    let (mut one, mut two) = (house.runner("one", &[]), house.runner("two", &[]));
    one.ready().await;
    two.ready().await;
    asked_until(&house, &["status"], |s| s["runner_slots"] == 2).await;
    house.announce_all("ann", &["ann/one"]).await;
    house.announce_all("bob", &["bob/two"]).await;
    let (first, second) = (gate.run_of("r1").await, gate.run_of("r2").await);
    let queue = asked_until(&house, &["queue"], |q| runs(q, "one") + runs(q, "two") == 2).await;
    assert_eq!(runs(&queue, "one"), 1, "{queue}");
    let is_first = queue["runners"][0]["running"][0] == first.id.as_str();
    let (lost, other) = if is_first { (first, second) } else { (second, first) };
    let cut = Instant::now();
    one.kill().await;
    let three = house.runner("three", &[]);
    let again = gate.run_of(&lost.request).await;
    eprintln!("repeated elsewhere after {:.1} s", cut.elapsed().as_secs_f64());
    assert_eq!(again.id, lost.id, "the same run, given to somebody else");
    assert!(cut.elapsed() < Duration::from_secs(13), "{:?}", cut.elapsed());
    asked_until(&house, &["queue"], |q| q["runners"][0]["lost"] == true).await;
    other.green();
    again.green();
    for branch in ["ann/one", "bob/two"] {
        assert_eq!(house.events.end_of(branch).await["type"], "merge_complete", "{branch}");
        assert_eq!(house.events.of(branch), ["queued", "testing", "complete"], "{branch}");
    }
    // What it left running ends when it comes back.
    let mut one = house.runner("one", &[]);
    one.ready().await;
    lost.dead().await;
    assert!(three.log().contains("takes a job"), "{}", three.log());
    for runner in [one, two, three] {
        assert_eq!(runner.stop().await, Some(0));
    }
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

fn runs(queue: &Value, runner: &str) -> usize {
    let runners = queue["runners"].as_array().into_iter().flatten();
    let found = runners.filter(|r| r["runner"] == runner).filter_map(|r| r["running"].as_array());
    found.map(Vec::len).sum()
}

/// What nobody wants any more is ended within a second, wherever it runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_nobody_wants_ends_within_a_second() {
    let (mut house, gate) = House::held().await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--slots", "0"]).await;
    let mut runner = house.runner("elsewhere", &[]);
    runner.ready().await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let asked = Instant::now();
    house.withdraw("ann", "ann/one").await;
    run.dead().await;
    eprintln!("called off after {:.3} s", asked.elapsed().as_secs_f64());
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    assert_eq!(runner.stop().await, Some(0));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

async fn term(runner: &Daemon) {
    runner.signal("TERM").await;
    runner.prints("draining").await;
}

/// SIGTERM: what runs is finished, and nothing new is taken. A second one gives back what runs, and so does
/// the end of the grace.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_drains() {
    let (mut house, gate) = House::held().await;
    for branch in ["ann/one", "bob/two", "cid/three"] {
        house.branch(branch, &[(branch, "x\n")]);
    }
    house.start(&["--slots", "0"]).await;
    let mut patient = house.runner("patient", &[]);
    patient.ready().await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    term(&patient).await;
    asked_until(&house, &["status"], |s| s["runners"][0]["draining"] == true && s["runner_slots"] == 0).await;
    run.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(patient.ended().await.0, Some(0));

    let mut hurried = house.runner("hurried", &["--grace", "1ms"]);
    hurried.ready().await;
    house.announce("bob", "bob/two").await;
    let given_back = gate.run_of("r2").await;
    hurried.signal("TERM").await;
    assert_eq!(hurried.ended().await.0, Some(0));
    given_back.dead().await;

    let mut asked_twice = house.runner("twice", &[]);
    asked_twice.ready().await;
    let given_back = gate.run_of("r2").await;
    term(&asked_twice).await;
    asked_twice.signal("TERM").await;
    assert_eq!(asked_twice.ended().await.0, Some(0));
    given_back.dead().await;

    let mut last = house.runner("last", &[]);
    last.ready().await;
    gate.open_wide();
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!(house.events.of("bob/two"), ["queued", "testing", "complete"]);
    assert_eq!(last.stop().await, Some(0));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// A step's labels: who has not got them is not asked, and where nobody has them that is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_needs_a_label_waits_for_a_runner_that_has_it() {
    let project = "[[gate.steps]]\nname = \"plain\"\nrun = \"true\"\n\
                   [[gate.steps]]\nname = \"gpu\"\nrun = \"test ! -e red\"\nlabels = [\"gpu\", \"os=linux\"]\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--slots", "1"]).await;
    let mut plain = house.runner("plain", &[]);
    plain.ready().await;
    house.announce("ann", "ann/one").await;
    let note = |q: &Value| q["targets"][0]["runner_note"].as_str().unwrap_or_default().to_owned();
    let queue = asked_until(&house, &["queue"], |q| !note(q).is_empty()).await;
    assert!(note(&queue).starts_with("no runner has label gpu, which step `gpu` needs; "), "{queue}");
    assert!(note(&queue).ends_with("`yardmaster work --label gpu`"), "{queue}");
    let mut gpu = house.runner("gpu", &["--label", "gpu"]);
    gpu.ready().await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert!(gpu.log().contains("takes a job") && !plain.log().contains("takes a job"), "{}", plain.log());
    let queue = asked(&house, &["queue"]).await;
    assert_eq!(note(&queue), "");
    assert_eq!((gpu.stop().await, plain.stop().await), (Some(0), Some(0)));
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// What a runner offers, and the directory for caches that its gates get.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_says_what_it_gives_to_steps() {
    let project = "[[gate.steps]]\nname = \"build\"\ncpu = 9\nrun = \"echo on > $YARDMASTER_CACHE/mark\"\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--slots", "0"]).await;
    let cache = house.dir.path().join("cache");
    let flags = ["--cpu", "3", "--mem", "1GiB", "--cache-dir", &cache.display().to_string()];
    let mut runner = house.runner("elsewhere", &flags);
    runner.ready().await;
    house.announce("ann", "ann/one").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert!(cache.join("mark").is_file());
    let status = asked(&house, &["status"]).await;
    let offers = (&status["runners"][0]["cpu"], &status["runners"][0]["mem_bytes"]);
    assert_eq!(offers, (&json!(3), &json!(1_u64 << 30)), "{status}");
    assert_eq!((runner.stop().await, house.stop().await), (Some(0), Some(0)));
    house.check().await;
}

/// Checkouts take no more of the disk than they may: what has to go goes, and the next run is none the worse.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_goes_when_the_disk_is_short() {
    let project = "[gate]\nrun = \"head -c 4M /dev/urandom > left\"\n";
    let mut house = House::build_with(&[(".yardmaster.toml", project)]).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.branch("bob/two", &[("two.txt", "2\n")]);
    house.start(&["--slots", "0"]).await;
    let mut runner = house.runner("elsewhere", &[]);
    runner.ready().await;
    house.announce("ann", "ann/one").await;
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    let left = house.dir.path().join("runner-elsewhere/lanes/1/worktree/left");
    assert!(left.is_file() && asked(&house, &["status"]).await["runners"][0]["disk"]["evicted"] == 0);
    assert_eq!(runner.stop().await, Some(0));
    let mut runner = house.runner("elsewhere", &["--disk", "1MiB"]);
    runner.ready().await;
    let status = asked_until(&house, &["status"], |s| s["runners"][0]["disk"]["evicted"] == 1).await;
    assert_eq!(status["runners"][0]["disk"]["most_bytes"], 1 << 20, "{status}");
    assert!(!left.exists() && runner.log().contains("evicted, to have room"), "{}", runner.log());
    house.announce("bob", "bob/two").await;
    assert_eq!(house.events.end_of("bob/two").await["type"], "merge_complete");
    assert_eq!((runner.stop().await, house.stop().await), (Some(0), Some(0)));
    house.check().await;
}

/// A log is there while it is written, and when the runner that wrote it has gone.
#[tokio::test(flavor = "multi_thread")]
async fn logs_of_runs_elsewhere_are_there_during_and_after() {
    let (mut house, gate) = House::held().await;
    let script = gate.script_with("echo 'halfway there'");
    house.remote.commit(&yardmaster_tests::Change {
        branch: "main",
        from: Some("main"),
        files: &[("gate.sh", Some(&script)), (".yardmaster.toml", Some(PROJECT))],
    });
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--slots", "0"]).await;
    let mut runner = house.runner("elsewhere", &[]);
    runner.ready().await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let text = |log: &Value| log["text"].as_str().unwrap_or_default().to_owned();
    let log = asked_until(&house, &["logs", "r1"], |log| text(log).contains("halfway there")).await;
    assert_eq!((&log["done"], &log["run"]), (&json!(false), &json!(run.id)), "{log}");
    let id = run.id.clone();
    run.red();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_failed");
    assert_eq!(runner.stop().await, Some(0));
    let log = asked(&house, &["logs", &id]).await;
    assert!(log["done"] == true && text(&log).contains("exit 1 after"), "{log}");
    assert_eq!(house.stop().await, Some(0));
    house.check().await;
}

/// Versions that do not understand each other part at once, in one line that says what to do.
#[tokio::test(flavor = "multi_thread")]
async fn other_versions_are_refused() {
    let mut house = House::build().await;
    house.start(&["--slots", "0"]).await;
    let beat = |wire: u32, name: &str| {
        json!({"wire": wire, "version": "9.9.9", "runner": name, "life": "x", "slots": 1}).to_string()
    };
    let ask = async |body: String| {
        let reply =
            house.nats.request("yardmaster.runner.v1.default.beat", body.into()).await.expect("answered");
        serde_json::from_slice::<Value>(&reply.payload).expect("JSON")
    };
    let newer = ask(beat(2, "newer")).await;
    assert_eq!(newer["error"]["code"], "refused", "{newer}");
    let words = newer["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("upgrade the daemon") && words.contains("9.9.9"), "{words}");
    let older = ask(beat(0, "older")).await;
    let words = older["error"]["message"].as_str().unwrap_or_default();
    assert!(words.contains("install yardmaster") && words.contains("`older`"), "{words}");

    let mut runner = house.runner("ours", &[]);
    runner.ready().await;
    let mut double =
        house.runner("ours", &["--state-dir", &house.dir.path().join("double").display().to_string()]);
    let (code, log) = double.ended().await;
    assert_eq!(code, Some(5), "{log}");
    assert!(log.contains("another runner is called `ours`"), "{log}");

    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Yardmaster-Wire", "2");
    let js = async_nats::jetstream::new(house.nats.clone());
    let job = js.publish_with_headers("yardmaster.jobs.default.run", headers, "{}".into()).await;
    job.expect("published").await.expect("stored");
    let (code, log) = runner.ended().await;
    assert_eq!(code, Some(7), "{log}");
    let line = log.lines().last().unwrap_or_default();
    assert!(line.contains("wire 2") || log.contains("install the daemon's version"), "{log}");
    assert_eq!(house.stop().await, Some(0));
}
