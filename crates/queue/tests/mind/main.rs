//! The mind through its border, one rule a test.

#![expect(clippy::unwrap_used, reason = "the helpers of tests")]

mod batch;
mod check;
mod definitions;
mod explain;
mod failures;
mod flake;
mod held;
mod independent;
mod intents;
mod parallel;
mod promote;
mod review;
mod rules;
mod runners;
mod scope;
mod steps;
mod support;
mod words;
