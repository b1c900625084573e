use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use yardmaster_tests::House;

/// Publishes what no client library lets through, and waits until the server has taken it.
fn publish_raw(url: &str, subject: &str, header: &[u8], payload: &[u8]) {
    let address = url.rsplit(['/', '@']).next().expect("an address");
    let mut server = TcpStream::connect(address).expect("connected");
    let mut bytes = b"CONNECT {\"verbose\":false,\"headers\":true}\r\n".to_vec();
    let total = header.len() + payload.len();
    bytes.extend(format!("HPUB {subject} {} {total}\r\n", header.len()).bytes());
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    bytes.extend_from_slice(b"\r\nPING\r\n");
    server.write_all(&bytes).expect("sent");
    let mut said = Vec::new();
    while !said.windows(4).any(|w| w == b"PONG") {
        let mut piece = [0; 4_096];
        let count = server.read(&mut piece).expect("an answer");
        assert!(count > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&piece[..count]);
    }
}

/// The server stores headers as they come; a client that stumbles over them would be given them again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_cannot_be_read_hold_nobody_up() {
    let headers: [&[u8]; 8] = [
        b"NATS/1.0\r\nx: \xff\xfe\r\n\r\n",
        b"HTTP/1.1\r\nx: y\r\n\r\n",
        b"NATS/1.0 abc\r\n\r\n",
        b"NATS/1.0\r\nno colon\r\n\r\n",
        b"NATS/1.0\r\n: no name\r\n\r\n",
        b"NATS/1.0 409 Consumer Deleted\r\n\r\n",
        b"NATS/1.0 100 Idle Heartbeat\r\n\r\n",
        b"NATS/1.0 404 No Messages\r\n\r\n",
    ];
    let mut house = House::build().await;
    house.branch("roy/one", &[("one.txt", "1\n")]);
    house.start(&[]).await;
    for (n, header) in headers.into_iter().enumerate() {
        publish_raw(&house.url, "work.integration.roy", header, format!("[{n}]").as_bytes());
    }
    house.announce("roy", "roy/one").await;
    assert_eq!(house.events.end_of("roy/one").await["type"], "merge_complete", "{}", house.log());
    house.wait_until_acked().await;
    house.stop().await;
    let ledger = house.check().await;
    let rejected = ledger.messages.iter().filter(|m| m.event["type"] == "request_rejected");
    let mut rejected: Vec<&str> = rejected.filter_map(|m| m.event["payload"].as_str()).collect();
    rejected.sort_unstable();
    assert_eq!(rejected, ["[0]", "[1]", "[2]", "[3]", "[4]", "[5]", "[6]", "[7]"]);
}
