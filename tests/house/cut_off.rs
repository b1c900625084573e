use std::process::Command;
use std::time::{Duration, Instant};

use yardmaster_tests::{Daemon, House, PlainServer, yardmaster};

/// A network namespace of its own, joined to ours by a pair of virtual cables; gone when it is dropped.
struct Namespace {
    name: String,
    outer: String,
    inside: String,
}

fn ip(args: &[&str]) -> Result<(), String> {
    let done = Command::new("ip").args(args).output().map_err(|e| format!("`ip` cannot be started: {e}"))?;
    if done.status.success() {
        return Ok(());
    }
    Err(format!("`ip {}`: {}", args.join(" "), String::from_utf8_lossy(&done.stderr).trim()))
}

impl Namespace {
    /// The `number` chooses the addresses: ours is 10.213.N.1, theirs 10.213.N.2.
    fn make(number: u8) -> Result<Namespace, String> {
        let id = std::process::id() % 100_000;
        let name = format!("ym{id}n{number}");
        let (outer, inner) = (format!("ym{id}o{number}"), format!("ym{id}i{number}"));
        ip(&["netns", "add", &name])?;
        let made = Namespace { name: name.clone(), outer: outer.clone(), inside: inner.clone() };
        ip(&["link", "add", &outer, "type", "veth", "peer", "name", &inner])?;
        ip(&["link", "set", &inner, "netns", &name])?;
        ip(&["addr", "add", &format!("10.213.{number}.1/24"), "dev", &outer])?;
        ip(&["link", "set", &outer, "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("10.213.{number}.2/24"), "dev", &inner])?;
        ip(&["-n", &name, "link", "set", &inner, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        Ok(made)
    }

    fn cut(&self) {
        ip(&["-n", &self.name, "link", "set", &self.inside, "down"]).expect("the cable is cut");
    }

    fn mend(&self) {
        ip(&["-n", &self.name, "link", "set", &self.inside, "up"]).expect("the cable is mended");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["link", "delete", &self.outer]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

/// A runner inside a namespace. It has no remote: what it needs comes over the cable.
fn runner(house: &House, at: &Namespace, number: u8, port: &str) -> Daemon {
    let name = format!("cable-{number}");
    let state = house.dir.path().join(&name).to_string_lossy().into_owned();
    let url = format!("nats://10.213.{number}.1:{port}");
    let program = yardmaster().to_string_lossy().into_owned();
    let args =
        ["exec", &at.name, &program, "work", "--nats-url", &url, "--state-dir", &state, "--name", &name];
    Daemon::start_command("ip".as_ref(), "netns", &args, &[])
}

/// Two runners on networks of their own. One is cut off in mid-run: the run is repeated by the other one, the
/// request lands, and nothing counts as red. What the one that was cut off says later is late news.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_cut_off_costs_nobody_anything() {
    let (one, two) = match (Namespace::make(1), Namespace::make(2)) {
        (Ok(one), Ok(two)) => (one, two),
        (Err(why), _) | (_, Err(why)) => {
            println!("skipped: network namespaces need root and iproute2 here: {why}");
            return;
        }
    };
    let (mut house, gate) = House::held().await;
    let store = house.dir.path().join("wide-store");
    let config = format!("host: 0.0.0.0\njetstream {{ store_dir: \"{}\" }}", store.display());
    let wide = PlainServer::start(&house.dir.path().join("wide"), &config).await;
    let port = wide.url.rsplit(':').next().expect("a port").to_owned();
    house.url = format!("nats://127.0.0.1:{port}");
    house.nats = async_nats::connect(&house.url).await.expect("connected");
    house.events = yardmaster_tests::Events::listen(&house.nats).await;
    house.branch("ann/one", &[("one.txt", "1\n")]);
    house.start(&["--slots", "0"]).await;
    let mut first = runner(&house, &one, 1, &port);
    first.ready().await;
    house.announce("ann", "ann/one").await;
    let run = gate.run_of("r1").await;
    let mut second = runner(&house, &two, 2, &port);
    second.ready().await;
    one.cut();
    let cut = Instant::now();
    let again = gate.run_of("r1").await;
    println!("cut off, repeated elsewhere after {:.1} s", cut.elapsed().as_secs_f64());
    assert_eq!(again.id, run.id);
    assert!(cut.elapsed() < Duration::from_secs(13), "{:?}", cut.elapsed());
    again.green();
    assert_eq!(house.events.end_of("ann/one").await["type"], "merge_complete");
    assert_eq!(house.events.of("ann/one"), ["queued", "testing", "complete"]);
    // The one that was cut off ends what nobody wants any more, as soon as it hears of it.
    one.mend();
    run.dead().await;
    assert_eq!((first.stop().await, second.stop().await), (Some(0), Some(0)));
    assert_eq!(house.stop().await, Some(0));
    let ledger = house.check().await;
    assert!(!ledger.told().contains("merge_failed"), "{}", ledger.told());
}
