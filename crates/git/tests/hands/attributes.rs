use yardmaster_protocol::{Assembly, MergedBy};

use crate::remote::{World, branch, git, main, replaced, spec};

#[test]
fn a_union_merge_that_the_target_asks_for_is_made() {
    let world = World::new();
    world.write(".gitattributes", "NEWS merge=union\n*.txt text\n");
    world.write("NEWS", "- old\n");
    world.commit("attributes");
    world.push("main");
    let head = world.branch("roy/1", |w| {
        w.write("NEWS", "- theirs\n- old\n");
        w.write("api/a.txt", &replaced("a", 20, 1, "theirs"));
    });
    world.write("NEWS", "- ours\n- old\n");
    world.write("api/a.txt", &replaced("a", 20, 18, "ours"));
    world.commit("ours");
    world.push("main");
    let mirror = world.mirror();
    let tip = mirror.look(&main(), None, &[]).expect("a sighting").tip;
    let ask = yardmaster_git::PinAsk {
        request: yardmaster_protocol::RequestId(1),
        branch: branch("roy/1"),
        commit: Some(head),
    };
    mirror.pin(&[ask], tip).expect("pinned");
    let stack = mirror.assemble(tip, &[spec(1, head)]).expect("assembled");
    let Assembly::Clean { commit, by, .. } = stack[0].assembly else { panic!("{stack:?}") };
    assert_eq!(by, MergedBy::Git);
    let news = git(mirror.path(), &["show", &format!("{commit}:NEWS")]);
    assert!(news.contains("- ours") && news.contains("- theirs"), "{news}");
}
