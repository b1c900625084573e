//! The house end to end.
