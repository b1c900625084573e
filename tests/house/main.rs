//! The house end to end.

mod announced;
mod arrows;
mod bad_input;
mod bad_start;
mod changelog;
mod crash;
mod custody;
mod depend;
mod landing;
mod push;
mod python;
mod remote_away;
mod schemas;
mod siege;
mod stop;
mod stories;
mod teller;
mod two_daemons;
mod wire;
