//! Hands on git, tried on real remotes: paths, and git's own HTTP server.

mod assemble;
mod attributes;
mod cochange;
mod contents;
mod guard;
mod http;
mod land;
mod look;
mod matrix;
mod pin;
mod project;
mod random_merges;
mod remote;
mod worktree;
