//! Messages in a row, with looks, fetches and doubles between them: no panic, bounded, and the journal tells the same.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use yardmaster_protocol::{
    BranchName, ChangeSize, CommitId, Entry, Gate, Inspection, IntakeSeq, Millis, Movement, ObjectId,
    Project, RequestId, Sighting, TreeId,
};
use yardmaster_queue::{GateRule, Input, Policy, Queue};

#[derive(Debug, Arbitrary)]
enum Act<'a> {
    Announce { agent: u8, branch: u8, commit: Option<u8>, priority: Option<u8>, needs: Vec<u8> },
    Withdraw { agent: u8, branch: u8 },
    Raw { seq: u8, payload: &'a [u8] },
    Inspect { request: u8, head: u8, how: u8 },
    Look { known: Option<u8>, tip: u8, contains: Vec<u8>, how: u8 },
    Silent,
    TakeBack { request: u8 },
}

fn commit(n: u8) -> CommitId {
    CommitId(ObjectId([n; 20]))
}

fn input(act: Act<'_>, seq: u64, target: &BranchName) -> Input {
    let message = |intake: u64, payload: Vec<u8>| Input::Message {
        intake: IntakeSeq(intake),
        subject: "work.integration.a1".to_owned(),
        published: Millis(seq),
        traceparent: None,
        payload,
    };
    match act {
        Act::Announce { agent, branch, commit: head, priority, needs } => {
            let info = serde_json::json!({"agent": format!("a{agent}"), "branch": format!("b{branch}"),
                "requirement": format!("b{branch}"), "commit": head.map(commit), "priority": priority,
                "depends_on": needs.iter().map(|n| format!("b{n}")).collect::<Vec<_>>()});
            message(seq, serde_json::json!({"type": "ready_to_merge", "merge_info": info}).to_string().into())
        }
        Act::Withdraw { agent, branch } => {
            let info = serde_json::json!({"agent": format!("a{agent}"), "branch": format!("b{branch}")});
            message(seq, serde_json::json!({"type": "withdraw", "merge_info": info}).to_string().into())
        }
        Act::Raw { seq, payload } => message(seq.into(), payload.to_vec()),
        Act::Inspect { request, head, how } => {
            let found = match how % 4 {
                0 => Inspection::BranchMissing,
                1 => Inspection::HeadMoved { found: commit(head) },
                2 => Inspection::Unusable { why: "because".to_owned() },
                _ => Inspection::Pinned {
                    head: commit(head),
                    merge_base: commit(1),
                    size: ChangeSize::default(),
                    files: vec![format!("{}", head % 4)],
                    contained: how > 200,
                },
            };
            Input::Inspected(vec![(RequestId(request.into()), found)])
        }
        Act::Look { known, tip, contains, how } => Input::Seen {
            target: target.clone(),
            known: known.map(commit),
            sighting: Sighting {
                tip: commit(tip),
                tree: TreeId(commit(tip).0),
                movement: [
                    Movement::First,
                    Movement::Same,
                    Movement::Forward,
                    Movement::Rewound,
                    Movement::Diverged,
                ][usize::from(how) % 5],
                contains: contains.into_iter().map(commit).collect(),
                project_file: None,
            },
            project: if how > 250 { Err("broken".to_owned()) } else { Ok(Project::default()) },
        },
        Act::Silent => Input::RemoteSilent { why: "no route".to_owned() },
        Act::TakeBack { request } => {
            Input::Withdraw { request: RequestId(request.into()), by: "roy".to_owned() }
        }
    }
}

fuzz_target!(|acts: Vec<Act<'_>>| {
    let target = BranchName::new("main").expect("a name");
    let mut policy = Policy::new(target.clone());
    policy.gate = GateRule::Fixed(Gate::command("true"));
    policy.max_pending = 8;
    let (mut lived, mut read) = (Queue::new(), Queue::new());
    for (number, act) in acts.into_iter().enumerate() {
        let seq = 256 + number as u64;
        let step = lived.step(Millis(seq), &policy, input(act, seq, &target));
        let written = serde_json::to_vec(&step.entry).expect("written");
        let entry: Entry = serde_json::from_slice(&written).expect("read back");
        assert_eq!(read.replay(&entry), step.events);
        assert!(lived.pending() <= 8);
    }
    let snapshot = lived.to_snapshot().expect("written");
    assert_eq!(snapshot, read.to_snapshot().expect("written"));
    let restored = Queue::from_snapshot(&snapshot).expect("read back");
    assert_eq!(restored.plan(&policy), lived.plan(&policy));
});
