//! The exit codes of a worker.

/// The supervisor hung up, or asked the worker to end.
pub const DONE: i32 = 0;

/// The engine met an error from which it cannot return; the worker has said its last words.
pub const ENGINE_ERROR: i32 = 70;

/// The supervisor sent what no supervisor of this version sends.
pub const BAD_FRAME: i32 = 71;

/// The worker could not start: its arguments, its socket or its isolation.
pub const BAD_START: i32 = 72;

/// The worker has a defect; its last words say where.
pub const PANIC: i32 = 101;
