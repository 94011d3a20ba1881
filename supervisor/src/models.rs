//! Bringing models into sessions: the source is compiled apart, and the session's worker loads
//! the result.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use simward_protocol::compile::{Asset, Compile};
use simward_protocol::model::{LoadModel, ModelSummary};

use crate::code::Code;
use crate::compiler::{self, Author, CompiledModel, Compiler};
use crate::session::{self, Session};
use crate::worker::Options;

/// The longest id of a model, in characters.
pub const MODEL_ID_CHARS_MAX: usize = 64;

/// How long a worker may take to load a compiled model, which shows no progress.
const LOAD_PATIENCE: Duration = Duration::from_secs(30);

/// A model's source.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The model, in MJCF or URDF.
    pub model_xml: String,
    /// The files that it names.
    pub assets: Vec<Asset>,
    /// Whose it is.
    pub author: Author,
}

/// A model in a session.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Loaded {
    /// The session that has it.
    pub session_id: String,
    /// The model.
    #[serde(flatten)]
    pub model: ModelSummary,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
    /// The size of the compiled model, in bytes.
    pub compiled_bytes: u64,
}

/// What the compiler says of a model.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Validation {
    /// Whether it compiles.
    pub valid: bool,
    /// The compiler's error, whole, with the line where it knows it.
    pub error: Option<String>,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
    /// The size that the compiled model would have, in bytes.
    pub compiled_bytes: Option<u64>,
}

/// A model that was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its id cannot be one.
    #[error(
        "`model_id` must have 1 to {MODEL_ID_CHARS_MAX} characters out of letters, digits, `_`, `-` and `.`"
    )]
    BadId,
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] compiler::Error),
    /// The session did not take it.
    #[error(transparent)]
    Session(#[from] session::Error),
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::BadId => "invalid_argument",
            Self::Compile(error) => error.code(),
            Self::Session(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadId => None,
            Self::Compile(error) => error.hint(),
            Self::Session(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BadId => None,
            Self::Compile(error) => error.retry_after(),
            Self::Session(error) => error.retry_after(),
        }
    }
}

/// Compiles a model and loads it into a session.
pub async fn load(
    compiler: &Compiler,
    session: &Session,
    source: Source,
    model_id: Option<String>,
) -> Result<Loaded, Error> {
    if model_id.as_deref().is_some_and(|id| !is_id(id)) {
        return Err(Error::BadId);
    }
    let Source { model_xml, assets, author } = source;
    let compile = Compile { model_xml, assets, keep: true };
    let compiled = compiler.compile(compile, author).await?;
    let CompiledModel { file, bytes, warnings } = compiled;
    let options = Options {
        attached: file.map(|file| Arc::clone(&file)),
        patience: Some(LOAD_PATIENCE),
        ..Options::default()
    };
    let model = session.call(LoadModel { model_id, bytes }, options).await?;
    let session_id = session.plan().id.to_string();
    Ok(Loaded { session_id, model, warnings, compiled_bytes: bytes })
}

/// Compiles a model and throws the result away.
pub async fn validate(compiler: &Compiler, source: Source) -> Result<Validation, compiler::Error> {
    let Source { model_xml, assets, author } = source;
    match compiler.compile(Compile { model_xml, assets, keep: false }, author).await {
        Ok(CompiledModel { bytes, warnings, .. }) => {
            Ok(Validation { valid: true, error: None, warnings, compiled_bytes: Some(bytes) })
        }
        // That we could not look is no word about the model.
        Err(
            error @ (compiler::Error::Busy(_)
            | compiler::Error::NoTurn { .. }
            | compiler::Error::Start(_)
            | compiler::Error::BrokeProtocol),
        ) => Err(error),
        Err(error) => {
            let error = Some(error.to_string());
            Ok(Validation { valid: false, error, warnings: Vec::new(), compiled_bytes: None })
        }
    }
}

fn is_id(id: &str) -> bool {
    (1..=MODEL_ID_CHARS_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}
