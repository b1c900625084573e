//! Exists so that one room knows NATS: streams, the inbox, the journal, gate jobs, events, the service, its
//! client, and a server of our own. It decides nothing: what a message means is said elsewhere.

mod bus;
mod client;
mod connect;
mod consumer;
mod error;
mod events;
mod inbox;
mod jobs;
mod journal;
mod leader;
mod lease;
mod names;
mod pull;
mod replay;
mod reports;
mod retry;
mod runners;
pub mod server;
mod service;
mod snapshot;
mod streams;
mod unreadable;

pub use bus::{Bus, BusOptions};
pub use client::{Client, EventStart, EventStream, StreamedEvent};
pub use connect::Connection;
pub use error::{AppendError, BusError, JournalError};
pub use inbox::{Delivery, Inbox};
pub use jobs::{JobSource, JobTicket};
pub use journal::{Journal, MAX_RECORD_BYTES, Record, encoded_len};
pub use leader::{Candidacy, Leader, Leadership};
pub use lease::{Cancelled, JobLease};
pub use reports::{ReportAck, Reports};
pub use runners::{LogCall, LogCalls, MAX_INLINE_BYTES};
pub use service::{ServiceCall, ServiceRequests};
pub use snapshot::Snapshot;
pub use streams::{MIN_SERVER, Streams, Thin};
