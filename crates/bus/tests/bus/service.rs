use std::time::Duration;

use serde_json::{Value, json};
use yardmaster_protocol::{ErrorBody, LogRequest, ServiceErrorCode, WithdrawRequest};

use crate::support::{World, within};

const VERBS: [&str; 5] = ["submit", "status", "queue", "withdraw", "logs"];
const ADMIN: [&str; 1] = ["admin.freeze"];

#[tokio::test]
async fn calls_are_answered_and_refusals_are_data() {
    let mut world = World::new().await;
    let mut requests = world.bus.serve(&VERBS).await.expect("serves");
    tokio::spawn(async move {
        while let Some(call) = requests.next().await {
            let body: Value = serde_json::from_slice(&call.payload).expect("is JSON");
            let answer = match call.verb.as_str() {
                "submit" => Ok(json!({"request": "r7", "state": "queued", "repeated": false, "position": 1})),
                "withdraw" => Ok(json!({"request": body["what"]})),
                "logs" => Ok(json!({"run": body["what"], "text": "ok\n", "next": 3, "done": true})),
                _ => Err(ErrorBody {
                    code: ServiceErrorCode::NotFound,
                    message: "nothing\nhere".into(),
                    retryable: false,
                    next: vec!["yardmaster queue".into()],
                }),
            };
            call.respond(answer).await;
        }
    });
    let client = world.another().await.client();
    let submitted = client.submit(&json!({"type": "ready_to_merge"})).await.expect("submits");
    assert_eq!((submitted.request.0, submitted.position), (7, Some(1)));
    let what = WithdrawRequest { what: "r7".into(), by: "roy".into() };
    assert_eq!(client.withdraw(&what).await.expect("withdraws").request.0, 7);
    let log = client.logs(&LogRequest { what: "run-1".into(), offset: 0 }).await.expect("tells");
    assert_eq!((log.text.as_str(), log.done), ("ok\n", true));
    let error = client.request_status("r9").await.expect_err("not found");
    assert_eq!((error.code, error.next), (ServiceErrorCode::NotFound, vec!["yardmaster queue".to_owned()]));
    let error = client.queue().await.expect_err("refused");
    assert_eq!(error.code, ServiceErrorCode::NotFound);

    world.kill().await;
    world.revive().await;
    let again = within(10, async {
        loop {
            if let Ok(reply) = client.submit(&json!({})).await {
                return reply;
            }
        }
    });
    assert_eq!(again.await.request.0, 7);
}

#[tokio::test]
async fn the_service_is_found_by_the_tools_of_nats() {
    let world = World::new().await;
    let verbs: Vec<&str> = VERBS.into_iter().chain(ADMIN).collect();
    let _requests = world.bus.serve(&verbs).await.expect("serves");
    let client = async_nats::connect(world.server().url()).await.expect("connects");
    let info = client.request("$SRV.INFO.yardmaster", "".into()).await.expect("answers");
    let info: Value = serde_json::from_slice(&info.payload).expect("is JSON");
    assert_eq!((&info["name"], &info["version"]), (&json!("yardmaster"), &json!(env!("CARGO_PKG_VERSION"))));
    let subjects: Vec<&str> = info["endpoints"]
        .as_array()
        .expect("has some")
        .iter()
        .filter_map(|e| e["subject"].as_str())
        .collect();
    assert!(subjects.contains(&"yardmaster.admin.v1.freeze"), "operators have a permission of their own");
    for verb in VERBS {
        assert!(subjects.contains(&format!("yardmaster.v1.{verb}").as_str()), "{subjects:?}");
    }
}

#[tokio::test]
async fn without_a_daemon_the_caller_is_told_what_to_do() {
    let mut world = World::new().await;
    let client = world.bus.client();
    let error = within(5, client.status()).await.expect_err("nobody serves");
    assert_eq!((error.code, error.retryable), (ServiceErrorCode::Unreachable, true));
    assert!(error.message.contains("the daemon is not") && !error.next.is_empty(), "{error:?}");

    let _deaf = world.bus.serve(&["status"]).await.expect("serves");
    let call = client.call("status", &Value::Null, Duration::from_millis(300));
    let error = within(5, call).await.expect_err("nobody answers");
    assert_eq!(error.code, ServiceErrorCode::Unreachable);
    assert!(error.message.contains("no answer"), "{error:?}");

    world.kill().await;
    let call = client.call("status", &Value::Null, Duration::from_millis(300));
    assert_eq!(within(5, call).await.expect_err("no server").code, ServiceErrorCode::Unreachable);
}

#[tokio::test]
async fn more_calls_than_fit_are_told_to_come_back() {
    let world = World::new().await;
    let requests = world.bus.serve(&["status"]).await.expect("serves");
    let calls = (0..300).map(|_| {
        let client = world.bus.client();
        tokio::spawn(async move { client.call("status", &json!({}), Duration::from_secs(1)).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut busy = 0;
    for call in calls {
        let error = call.await.expect("no panic").expect_err("nobody answers");
        assert!(error.retryable);
        busy += usize::from(error.message.contains("waiting already"));
    }
    assert_eq!(busy, 300 - 256);
    drop(requests);
}

#[tokio::test]
async fn an_announcement_is_taken_each_time_and_a_missing_stream_is_told() {
    let world = World::new().await;
    let roy = yardmaster_protocol::AgentName::new("roy").expect("fits");
    let client = world.bus.client();
    let first = client.publish_announcement(&roy, b"{}").await.expect("is taken");
    let second = client.publish_announcement(&roy, b"{}").await.expect("is taken");
    assert_eq!((first.0, second.0), (1, 2));
    world.raw().await.delete_stream("INTEGRATION").await.expect("goes");
    let error = within(15, client.publish_announcement(&roy, b"{}")).await.expect_err("no stream");
    assert_eq!(error.code, ServiceErrorCode::Unreachable);
}
