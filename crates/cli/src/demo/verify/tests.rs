use serde_json::json;

use super::*;

fn event(id: usize, role: &Role) -> Event {
    let oid = format!("{id:040x}");
    let mut event = json!({"request": format!("r{id}"), "agent": role.agent, "branch": role.branch,
        "requirement": role.requirement, "target": "main", "head": oid, "seq": 3, "time": "2026-01-01T00:00:00Z"});
    let body = match role.fate {
        Fate::Lands => json!({"type": "merge_complete", "commit": oid, "tree": oid, "base": oid,
            "gate": {"run": null, "gate": null, "seconds": 1.0, "reused": false}}),
        Fate::Fails(failing) => json!({"type": "merge_failed", "cause": failing.cause, "blame": "own",
            "evidence": {"message": "m", "paths": [failing.shown], "log_tail": failing.shown}, "next": ["x"]}),
    };
    if let (Some(event), Some(body)) = (event.as_object_mut(), body.as_object()) {
        event.extend(body.clone());
    }
    serde_json::from_value(event).expect("it is an event")
}

/// What a demo that goes well ends with.
fn good() -> (Vec<Landed>, Endings) {
    let endings: Endings =
        CAST.iter().enumerate().map(|(i, r)| (r.agent.to_owned(), vec![event(i + 1, r)])).collect();
    let mut main: Vec<(u8, Landed)> = landings(&endings)
        .iter()
        .map(|(id, (commit, role))| {
            let landed = Landed {
                commit: commit.clone(),
                subject: String::new(),
                request: Some(id.to_string()),
                brought: Vec::new(),
                green: true,
            };
            (role.priority, landed)
        })
        .collect();
    main.sort_by_key(|(priority, _)| *priority);
    (main.into_iter().map(|(_, landed)| landed).collect(), endings)
}

fn wrong(main: &[Landed], endings: &Endings) -> Vec<String> {
    let checks = [
        every_answer(endings),
        fates(endings),
        landed_once(main, endings),
        priorities(main, endings),
        evidence(endings),
        green_main(main),
    ];
    checks.into_iter().filter(|c| !c.ok).map(|c| c.what).collect()
}

#[test]
fn a_good_outcome_is_found_good() {
    let (main, endings) = good();
    assert_eq!(wrong(&main, &endings), Vec::<String>::new());
}

#[test]
fn every_wrong_outcome_is_told() {
    let mut told = Vec::new();
    let mut spoil = |spoil: &dyn Fn(&mut Vec<Landed>, &mut Endings)| {
        let (mut main, mut endings) = good();
        spoil(&mut main, &mut endings);
        let wrong = wrong(&main, &endings);
        assert!(!wrong.is_empty());
        told.push(wrong.join("\n"));
    };
    spoil(&|main, _| main.reverse());
    spoil(&|main, _| main[2].green = false);
    spoil(&|main, _| drop(main.remove(1)));
    spoil(&|main, _| main.push(main[0].clone()));
    spoil(&|_, endings| drop(endings.remove("ada")));
    spoil(&|_, endings| {
        let twice = endings["hal"][0].clone();
        endings.entry("hal".to_owned()).or_default().push(twice);
    });
    spoil(&|_, endings| {
        let landed = endings["ben"].clone();
        endings.insert("gwen".to_owned(), landed);
    });
    spoil(&|_, endings| {
        if let Some(EventBody::MergeFailed(failure)) =
            endings.get_mut("joe").and_then(|e| e.first_mut()).map(|e| &mut e.body)
        {
            failure.next.clear();
        }
    });
    insta::assert_snapshot!(told.join("\n\n"));
}

/// The roles do what they are there for, whatever the queue makes of them.
#[test]
fn the_cast_announces_the_wrong_way_round() {
    let priorities: Vec<u8> = CAST.iter().map(|r| r.priority).collect();
    assert!(priorities.windows(2).all(|p| p[0] >= p[1]), "{priorities:?}");
    assert!(CAST.iter().any(|r| r.priority == 1) && CAST.iter().any(|r| r.priority == 3));
}
