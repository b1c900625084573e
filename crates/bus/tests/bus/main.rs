//! The bus against a real nats-server, killed and restarted where that matters.

mod proxy;
mod support;

mod ambiguity;
mod connecting;
mod events;
mod inbox;
mod jobs;
mod journal;
mod server;
mod service;
mod streams;
