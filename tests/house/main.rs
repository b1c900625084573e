//! The house end to end.

mod landing;
