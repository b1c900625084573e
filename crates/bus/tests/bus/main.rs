//! The bus against a real nats-server, killed and restarted where that matters.

mod support;

mod connecting;
mod events;
mod inbox;
mod jobs;
mod journal;
mod server;
mod service;
mod streams;
