//! Editing a loaded model: its source is changed and compiled apart, and what comes of it takes the
//! model's place, with its state.

use std::sync::Arc;

use serde::Serialize;
use simward_protocol::compile::Compile;
use simward_protocol::editing::{self, Change, Replaced};
use simward_protocol::fault::Fault;

use super::{Error, Models, Source};
use crate::session::{self, Edition, Session};
use crate::sources::BYTES_MAX;
use crate::store::Key;

/// One edit of a model, whose source is not read yet if it attaches one.
pub type Edit = Change<Source>;

/// A model that was edited.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct EditedModel {
    /// The session that has it.
    pub session_id: String,
    /// What became of it.
    #[serde(flatten)]
    pub replaced: Replaced,
    /// What the compiler warned of.
    pub warnings: Vec<String>,
}

impl Models {
    /// Changes and compiles the source of a model. The session is as it was.
    pub async fn edit(
        &self,
        session: &Session,
        model_id: Option<&str>,
        edits: Vec<Edit>,
    ) -> Result<Edition, Error> {
        let tenant = &session.plan().tenant;
        let (model_id, before) = session.held_model(model_id)?;
        // The memory of all sources is accounted for as long as they are there.
        let _turn = self.sources.turn(tenant).await?;
        let of = Arc::clone(&before);
        let base = self.sessions.store().run(move |_| of.source()).await?;
        let call = self.gather(base, edits).await?;
        let (compiled, source) = self.sessions.compiler().edit(call, tenant).await?;
        let warnings = compiled.warnings.clone();
        let hashed = self.sessions.store().run(move |_| Ok((Key::of(&source), source)));
        let (key, source) = hashed.await?;
        let after = self.keep(tenant, key, source, compiled).await?;
        Ok(Edition { model_id, before, after, warnings })
    }

    /// Reads the sources of what is attached.
    async fn gather(&self, base: Compile, edits: Vec<Edit>) -> Result<editing::Edit, Error> {
        let (mut others, mut changes) = (Vec::new(), Vec::with_capacity(edits.len()));
        let mut bytes = bytes_of(&base);
        for edit in edits {
            changes.push(match edit {
                Edit::Add { xml, to } => Change::Add { xml, to },
                Edit::Remove { kind, name } => Change::Remove { kind, name },
                Edit::Attach { other, to, prefix, position, quaternion } => {
                    let (source, _) = self.read_now(other).await?;
                    bytes = bytes.saturating_add(bytes_of(&source));
                    if BYTES_MAX < bytes {
                        let what = "bytes of a model and of what is attached to it";
                        return Err(limit(what, bytes, BYTES_MAX));
                    }
                    let other = u32::try_from(others.len()).unwrap_or(u32::MAX);
                    others.push(source);
                    Change::Attach { other, to, prefix, position, quaternion }
                }
            });
        }
        Ok(editing::Edit { base, others, edits: changes })
    }

    /// Puts a model that was edited in the place of what it was. It happens on a task of its own:
    /// whoever gives up halfway leaves a session that has the one or the other, with its state.
    pub async fn replace(&self, session: &Session, edition: Edition) -> Result<EditedModel, Error> {
        let session_id = session.plan().id.to_string();
        let warnings = edition.warnings.clone();
        let (id, session) = (session_id.clone(), session.clone());
        let replacing = tokio::spawn(async move { session.replace(edition).await });
        // The task may have panicked.
        let replaced = replacing.await.unwrap_or(Err(session::Error::Closed { id }))?;
        Ok(EditedModel { session_id, replaced, warnings })
    }
}

fn bytes_of(source: &Compile) -> u64 {
    let assets = source.assets.iter().map(|asset| (asset.path.len() + asset.content.len()) as u64);
    assets.fold(source.model_xml.len() as u64, u64::saturating_add)
}

/// More than there may be.
pub(crate) fn limit(what: &str, value: u64, max: u64) -> Error {
    session::Error::Fault(Fault::LimitExceeded { what: what.to_owned(), value, max }).into()
}
