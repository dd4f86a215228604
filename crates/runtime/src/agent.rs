//! The agent's program: the static PID 1 of every instance, as `build.rs` made it. Only its bytes; nothing here starts it.

/// One static file.
pub static PROGRAM: &[u8] = include_bytes!(env!("TEAL_AGENT"));
