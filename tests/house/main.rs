//! The house end to end.

mod announced;
mod arrows;
mod bad_headers;
mod bad_input;
mod bad_start;
mod changelog;
mod cluster;
mod crash;
mod custody;
mod depend;
mod flood;
mod frozen;
mod landing;
mod large;
mod power_loss;
mod push;
mod python;
mod remote_away;
mod runner_lost;
mod schemas;
mod siege;
mod stop;
mod stories;
mod teller;
mod two_daemons;
mod wire;
