//! What reads bytes that others wrote, each as a function that must not panic, whatever it is
//! given, and that states what must hold of what was accepted.
//!
//! The programs in `fuzz/` feed them for as long as one likes; a test feeds them the committed
//! corpora and some thousand mutations, always the same.

mod checkpoints;
mod engine_xml;
mod files;
mod frames;
pub mod mutate;
pub mod seeds;
mod sources;

use std::path::PathBuf;

pub use self::checkpoints::checkpoint;
pub use self::files::{assignment, config, record, trailer};
pub use self::frames::{from_worker, to_worker};
pub use self::sources::{scan, source};
use crate::models::root;

/// Something that reads bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: of the program, and of the folders of its inputs.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name }),*];
    };
}

targets![to_worker, from_worker, checkpoint, record, trailer, config, assignment, scan];

impl Target {
    /// The folders of its inputs: what it begins with, and what once broke it.
    pub fn folders(self) -> [PathBuf; 2] {
        ["corpus", "regressions"].map(|kind| root().join("fuzz").join(kind).join(self.name))
    }

    /// Its committed inputs, in a fixed order.
    pub fn inputs(self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = self.folders().into_iter().filter_map(|folder| std::fs::read_dir(folder).ok());
        let mut paths: Vec<_> = files.flatten().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        let read = |path: PathBuf| {
            let bytes = std::fs::read(&path).unwrap();
            (path, bytes)
        };
        paths.into_iter().map(read).collect()
    }
}

/// Takes bytes for what they are needed as; nothing once they have run out.
struct Taker<'a>(&'a [u8]);

impl Taker<'_> {
    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *byte
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}
