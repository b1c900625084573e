use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::Info;
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::RawMessage;
use serde::Deserialize;
use serde_json::json;

use crate::bus::Inner;

/// Of one look; what is further on is found when it has broken the connection itself.
const MAX_FOUND: usize = 256;

#[derive(Deserialize)]
struct Got {
    message: RawMessage,
}

/// Messages that were delivered and not acked, and whose headers the client cannot read. The server stores headers
/// as they come, and the client drops its connection over one: the message would come with every new connection and
/// nothing after it, for ever. As text in an answer of the server it does no harm. Comes without its headers.
pub(crate) async fn unreadable(inner: &Inner, stream: &str, consumer: &Info) -> Vec<Message> {
    let delivered = consumer.ack_floor.stream_sequence + 1..=consumer.delivered.stream_sequence;
    if consumer.num_ack_pending == 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    for seq in delivered {
        let asked = inner.js.request(format!("STREAM.MSG.GET.{stream}"), &json!({"seq": seq})).await;
        let raw = match asked {
            Ok(Response::Ok(Got { message })) => message,
            Ok(Response::Err { .. }) => continue,
            Err(_) => break,
        };
        if StreamMessage::try_from(raw.clone()).is_ok() {
            continue;
        }
        if let Some(message) = without_headers(inner, stream, &consumer.name, raw) {
            tracing::warn!(stream, seq, "a message has headers that cannot be read; they are left out");
            found.push(message);
        }
        if found.len() == MAX_FOUND {
            break;
        }
    }
    found
}

/// As if it had been delivered, with the subject that acks it.
fn without_headers(inner: &Inner, stream: &str, consumer: &str, raw: RawMessage) -> Option<Message> {
    let stored = StreamMessage::try_from(RawMessage { headers: None, ..raw }).ok()?;
    let (seq, nanos) = (stored.sequence, stored.time.unix_timestamp_nanos());
    let reply = format!("$JS.ACK.{stream}.{consumer}.1.{seq}.{seq}.{nanos}.0");
    let message = async_nats::Message {
        subject: stored.subject,
        reply: Some(reply.into()),
        length: stored.payload.len(),
        payload: stored.payload,
        headers: None,
        status: None,
        description: None,
    };
    Some(Message { message, context: inner.js.clone() })
}
