//! Rules about what is measured, what is told when one is broken, and what is done then.

pub mod book;
pub mod readings;
pub mod rule;
pub mod state;
