//! Giving a model's source back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Models};
use crate::session::Session;
use crate::store::{Model, Outline};

/// Which form of a source.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// What was sent; of a model that was edited, what came of that.
    #[default]
    Source,
    /// One MJCF document, as the engine writes it.
    Flattened,
}

/// A model's source, without the contents of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Export {
    /// The session that has the model.
    pub session_id: String,
    /// The model.
    pub model_id: String,
    /// The form.
    pub form: Form,
    /// The source.
    pub model_xml: String,
    /// The files that came with it, or that the document names, and their sizes.
    pub assets: Vec<AssetSize>,
}

/// A file of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct AssetSize {
    /// Its relative path.
    pub path: String,
    /// Its size, in bytes.
    pub bytes: u64,
}

impl Models {
    /// A model's source, if it has no more bytes than that, the paths of its files included.
    pub async fn export(
        &self,
        session: &Session,
        model_id: Option<&str>,
        form: Form,
        bytes_max: usize,
    ) -> Result<Export, Error> {
        let (model_id, model) = session.held_model(model_id)?;
        let Outline { model_xml, assets } = match form {
            Form::Source => self.sessions.store().run(move |_| model.outline()).await?,
            Form::Flattened => self.flattened(session, model).await?,
        };
        let session_id = session.plan().id.to_string();
        let paths: usize = assets.iter().map(|(path, _)| path.len()).sum();
        let (value, max) = ((model_xml.len() + paths) as u64, bytes_max as u64);
        if max < value {
            return Err(Error::TooLong { session_id, model_id, value, max });
        }
        let assets = assets.into_iter().map(|(path, bytes)| AssetSize { path, bytes }).collect();
        Ok(Export { session_id, model_id, form, model_xml, assets })
    }

    async fn flattened(&self, session: &Session, model: Arc<Model>) -> Result<Outline, Error> {
        let tenant = &session.plan().tenant;
        // Its memory is accounted for as long as it is there.
        let _turn = self.sources.turn(tenant).await?;
        let source = self.sessions.store().run(move |_| model.source()).await?;
        let sizes: Vec<_> = source.assets.iter().map(|asset| asset.content.len() as u64).collect();
        let flattened = self.sessions.compiler().flatten(source, tenant).await?;
        let size = |index: u32| sizes.get(index as usize).copied().unwrap_or(0);
        let assets = flattened.assets.into_iter().map(|taken| (taken.path, size(taken.index)));
        Ok(Outline { model_xml: flattened.model_xml, assets: assets.collect() })
    }
}
