//! Bringing models into sessions: the source is compiled apart, and the session's worker loads
//! the result.

mod editing;
mod exporting;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use simward_protocol::compile::{Asset, Compile, ENTRY};
use simward_protocol::model::{ModelSummary, Unloaded};

pub(crate) use self::editing::limit;
pub use self::editing::{Edit, EditedModel};
pub use self::exporting::{Export, Form};
use crate::code::Code;
use crate::compiler::{self, Author, CompiledModel};
use crate::pool::turns::Turn;
use crate::session::{self, MODEL_ID_CHARS_MAX, Session, is_model_id};
use crate::sessions::Sessions;
use crate::sources::{self, Collected, Place, Sources, Stamps};
use crate::store::{self, Key, Model, Store};
use crate::tenants::Tenant;
use crate::whole;

/// A model's source.
#[derive(Clone, Debug)]
pub enum Source {
    /// What a client sent.
    Sent {
        /// The model, in MJCF or URDF.
        model_xml: String,
        /// The files that it names.
        assets: Vec<Asset>,
    },
    /// A built-in scene.
    Scene {
        /// The scene, in MJCF.
        model_xml: String,
    },
    /// What lies in files of this machine.
    Placed(Place),
}

impl Source {
    fn author(&self) -> Author {
        match self {
            Self::Sent { .. } | Self::Placed(_) => Author::Client,
            Self::Scene { .. } => Author::Ourselves,
        }
    }
}

/// What models are brought in with.
#[derive(Clone, Debug)]
pub struct Models {
    sessions: Sessions,
    sources: Sources,
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
    /// Whether it was compiled before, and is there as it was.
    pub is_cached: bool,
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
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// It is not to be had from files.
    #[error(transparent)]
    Source(#[from] sources::Error),
    /// Its source is longer than what is given.
    #[error("the source of a model is given up to {max} bytes, and this one has {value}")]
    TooLong {
        /// The session that has the model.
        session_id: String,
        /// The model.
        model_id: String,
        /// What it has.
        value: u64,
        /// What is allowed.
        max: u64,
    },
}

impl Code for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::BadId => "invalid_argument",
            Self::TooLong { .. } => "limit_exceeded",
            Self::Compile(error) => error.code(),
            Self::Session(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Source(error) => error.code(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadId => None,
            Self::TooLong { session_id, model_id, .. } => {
                Some(format!("the resource sim://{session_id}/model/{model_id}.xml may be longer"))
            }
            Self::Compile(error) => error.hint(),
            Self::Session(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Source(error) => error.hint(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::BadId | Self::TooLong { .. } => None,
            Self::Compile(error) => error.retry_after(),
            Self::Session(error) => error.retry_after(),
            Self::Store(error) => error.retry_after(),
            Self::Source(error) => error.retry_after(),
        }
    }
}

impl Models {
    /// Models for these sessions, out of these sources.
    pub fn new(sessions: Sessions, sources: Sources) -> Self {
        Self { sessions, sources }
    }

    /// Models in files.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Compiles a model, unless that was done before, and loads it into a session.
    pub async fn load(
        &self,
        session: &Session,
        source: Source,
        model_id: Option<String>,
    ) -> Result<Loaded, Error> {
        if model_id.as_deref().is_some_and(|id| !is_model_id(id)) {
            return Err(Error::BadId);
        }
        let tenant = &session.plan().tenant;
        let (model, is_cached) = self.compiled(tenant, source).await?;
        self.sessions.store().models().count(tenant, is_cached);
        let (warnings, compiled_bytes) = (model.about.warnings.clone(), model.about.bytes);
        let model = load_whole(session, model, model_id).await?;
        let session_id = session.plan().id.to_string();
        Ok(Loaded { session_id, model, warnings, compiled_bytes, is_cached })
    }

    /// Compiles a model and throws the result away.
    pub async fn validate(&self, tenant: &Tenant, source: Source) -> Result<Validation, Error> {
        let author = source.author();
        let Read { mut compile, _turn, .. } = self.read(tenant, source).await?;
        compile.keep = false;
        match self.sessions.compiler().compile(compile, author, tenant).await {
            Ok((CompiledModel { bytes, warnings, .. }, _)) => {
                Ok(Validation { valid: true, error: None, warnings, compiled_bytes: Some(bytes) })
            }
            // That we could not look is no word about the model.
            Err(
                error @ (compiler::Error::Busy(_)
                | compiler::Error::Start(_)
                | compiler::Error::Weak { .. }
                | compiler::Error::BrokeProtocol),
            ) => Err(error.into()),
            Err(error) => {
                let error = Some(error.to_string());
                Ok(Validation { valid: false, error, warnings: Vec::new(), compiled_bytes: None })
            }
        }
    }

    /// A compiled model, and whether it was there already.
    async fn compiled(&self, tenant: &Tenant, source: Source) -> Result<(Arc<Model>, bool), Error> {
        if let Source::Placed(place) = &source
            && let Some(model) = self.unchanged(tenant, place).await?
        {
            return Ok((model, true));
        }
        let author = source.author();
        let Read { compile, placed, _turn } = self.read(tenant, source).await?;
        let (store, of) = (self.sessions.store(), tenant.clone());
        let looked = store.run(move |store| {
            let key = Key::of(&compile);
            let found = sound(store, &of, &key);
            Ok((compile, key, found))
        });
        let (compile, key, found) = looked.await?;
        if let Some((place, stamps)) = placed {
            self.sources.remember(&place, stamps, key.clone());
        }
        if let Some(model) = found {
            return Ok((model, true));
        }
        let (compiled, compile) = self.sessions.compiler().compile(compile, author, tenant).await?;
        Ok((self.keep(tenant, key, compile, compiled).await?, false))
    }

    /// Keeps what was compiled of a source.
    async fn keep(
        &self,
        tenant: &Tenant,
        key: Key,
        source: Compile,
        compiled: CompiledModel,
    ) -> Result<Arc<Model>, Error> {
        let CompiledModel { file, bytes, state_values, warnings } = compiled;
        let file = file.ok_or(compiler::Error::BrokeProtocol)?;
        let (of, about) = (tenant.clone(), (bytes, state_values, warnings));
        let put = move |store: &Store| store.put_model(&of, (&key, &source), &file, &about);
        Ok(self.sessions.store().run(put).await?)
    }

    /// What was compiled of a model in files, if none of those has changed since.
    async fn unchanged(&self, tenant: &Tenant, place: &Place) -> Result<Option<Arc<Model>>, Error> {
        let place = place.clone();
        let Some(key) = self.sources.run(move |sources| sources.key_of(&place)).await? else {
            return Ok(None);
        };
        let of = tenant.clone();
        Ok(self.sessions.store().run(move |store| Ok(sound(store, &of, &key))).await?)
    }

    /// A source with everything that it names.
    async fn read(&self, tenant: &Tenant, source: Source) -> Result<Read, Error> {
        let turn = match source {
            Source::Placed(_) => Some(self.sources.turn(tenant).await?),
            Source::Sent { .. } | Source::Scene { .. } => None,
        };
        let (compile, placed) = self.read_now(source).await?;
        Ok(Read { compile, placed, _turn: turn })
    }

    /// The same, for whoever has a turn at it.
    async fn read_now(&self, source: Source) -> Result<(Compile, Option<(Place, Stamps)>), Error> {
        let (model_xml, assets) = match source {
            Source::Sent { model_xml, assets } => (model_xml, assets),
            Source::Scene { model_xml } => (model_xml, Vec::new()),
            Source::Placed(place) => {
                let read = self.sources.run(move |sources| {
                    let Collected { compile, stamps } = sources.collect(&place)?;
                    Ok((compile, Some((place, stamps))))
                });
                return Ok(read.await?);
            }
        };
        Ok((Compile { entry: ENTRY.to_owned(), model_xml, assets, keep: true }, None))
    }
}

/// A source as the compiler takes it.
struct Read {
    compile: Compile,
    /// Where it was read, and what the files looked like.
    placed: Option<(Place, Stamps)>,
    /// Its memory is accounted for as long as this lives.
    _turn: Option<Turn>,
}

/// A compiled model that is kept and whole, with its source. One that turns out to be damaged, or
/// was kept by an earlier version, is made anew.
fn sound(store: &Store, tenant: &Tenant, key: &Key) -> Option<Arc<Model>> {
    let model = store.models().get(tenant, key)?;
    (model.about.source.is_some() && model.file().is_ok()).then_some(model)
}

/// Loads a compiled model on a task of its own, so that whoever gives up halfway leaves a session
/// that either has the model or never had it.
async fn load_whole(
    session: &Session,
    model: Arc<Model>,
    model_id: Option<String>,
) -> Result<ModelSummary, session::Error> {
    let (loading, unloading) = (session.clone(), session.clone());
    let load = async move { loading.load(model, model_id).await };
    let undo = |summary: ModelSummary| async move {
        unloading.unload(Some(summary.model_id)).await.ok();
    };
    let id = session.plan().id.to_string();
    whole::or_undone(load, undo).await.unwrap_or(Err(session::Error::Closed { id }))
}

/// Removes a model from a session; on a task of its own, so that whoever gives up halfway does not
/// leave a model that its worker has let go and the session still holds.
pub async fn unload(
    session: &Session,
    model_id: Option<String>,
) -> Result<Unloaded, session::Error> {
    let id = session.plan().id.to_string();
    let session = session.clone();
    let unloading = tokio::spawn(async move { session.unload(model_id).await });
    // The task may have panicked.
    unloading.await.unwrap_or(Err(session::Error::Closed { id }))
}
