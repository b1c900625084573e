//! How long the queue itself takes with very many pending requests: `pending [N]`.

use std::time::Instant;

use yardmaster_protocol::{
    BranchName, ChangeSize, CommitId, Gate, Inspection, IntakeSeq, Millis, Movement, ObjectId, Project,
    Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Order, Policy, Queue};

fn main() {
    let n: u64 = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(10_000);
    for needs in [false, true] {
        println!("{n} requests, {}", if needs { "each needs the one before" } else { "independent" });
        measure(n, needs);
    }
}

fn measure(n: u64, needs: bool) {
    let Ok(main) = BranchName::new("main") else { return };
    let mut policy = Policy::new(main.clone());
    policy.gate = GateRule::Fixed(Gate::command("true"));
    policy.max_pending_per_agent = usize::MAX;
    let mut queue = Queue::new();
    let tip = CommitId(ObjectId([1; 20]));
    let sighting = Sighting {
        tip,
        tree: TreeId(tip.0),
        movement: Movement::First,
        contains: Vec::new(),
        project_file: None,
        lost: Vec::new(),
    };
    let project = Ok(Project::default());
    queue.step(Millis(0), &policy, Input::Seen { target: main, known: None, sighting, project });
    let started = Instant::now();
    for i in 1..=n {
        let needs = if needs { format!(r#","depends_on":["R{}"]"#, i - 1) } else { String::new() };
        let payload = format!(
            r#"{{"type":"ready_to_merge","merge_info":{{"agent":"a","branch":"w/{i}","requirement":"R{i}"{needs}}}}}"#
        );
        queue.step(
            Millis(i),
            &policy,
            Input::Message {
                intake: IntakeSeq(i),
                subject: "work.integration.a".to_owned(),
                published: Millis(i),
                traceparent: None,
                payload: payload.into_bytes(),
            },
        );
    }
    println!("  messages {:?}", started.elapsed());
    let started = Instant::now();
    loop {
        let asks = queue.plan(&policy).orders.into_iter().find_map(|o| match o {
            Order::Pin { asks, .. } => Some(asks),
            _ => None,
        });
        let Some(asks) = asks else { break };
        let pinned = |ask: yardmaster_queue::PinAsk| {
            let mut head = [0; 20];
            head.iter_mut().zip(ask.request.0.to_be_bytes()).for_each(|(to, from)| *to = from);
            let found = Inspection::Pinned {
                head: CommitId(ObjectId(head)),
                merge_base: tip,
                size: ChangeSize { lines: ask.request.0 % 97, files: 1 },
                files: vec![format!("f{}", ask.request)],
                contained: false,
            };
            (ask.request, found)
        };
        let found = asks.into_iter().map(pinned).collect();
        queue.step(Millis(2 * n), &policy, Input::Inspected(found));
    }
    println!("  pins and plans {:?}", started.elapsed());
    let started = Instant::now();
    let plan = queue.plan(&policy);
    println!("  one plan {:?} ({} orders)", started.elapsed(), plan.orders.len());
    let started = Instant::now();
    queue.overview(Millis(2 * n), &policy);
    println!("  one overview {:?}", started.elapsed());
    let started = Instant::now();
    let bytes = queue.to_snapshot().map(|b| b.len()).unwrap_or_default();
    println!("  one snapshot {:?}, {bytes} bytes", started.elapsed());
}
