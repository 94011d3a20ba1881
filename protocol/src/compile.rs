//! Turning a model's source into compiled model bytes, in a process that does nothing else.
//!
//! The supervisor sends one [`Task`] with a memory file, and reads one `Result` of what belongs to
//! it, or a [`Fault`](crate::fault::Fault); then the process ends.

use serde::{Deserialize, Serialize};

use crate::editing::Edit;

/// The most files that may accompany a model.
pub const ASSETS_MAX: usize = 4096;

/// The path of a model that came as text, without any.
pub const ENTRY: &str = "model.xml";

/// What a compile process is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Compile a source. Answered by [`Compiled`].
    Compile(Compile),
    /// Write a source as one document. Answered by [`Flattened`](crate::editing::Flattened).
    Flatten(Compile),
    /// Change a source and compile it. Answered by [`Edited`](crate::editing::Edited).
    Edit(Edit),
}

/// A model's source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compile {
    /// The model's own path among its files: what it names is relative to that one's folder.
    pub entry: String,
    /// The model, in MJCF or URDF.
    pub model_xml: String,
    /// The files that the model names, by their relative path.
    pub assets: Vec<Asset>,
    /// Whether the compiled bytes are wanted, in the memory file that travels with the call.
    pub keep: bool,
}

/// A file that a model names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asset {
    /// The path, relative, with forward slashes.
    pub path: String,
    /// The content.
    #[serde(with = "bytes")]
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Asset {
    /// Tells the size instead of the content.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.path, self.content.len())
    }
}

/// A model that compiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// The size of the compiled model that was written, or would have been.
    pub bytes: u64,
    /// How many values the model's integration state has.
    pub state_values: u64,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
}

/// Byte strings as one piece: serde's default visits every byte.
mod bytes {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        from.deserialize_bytes(Bytes)
    }

    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }
    }
}
