//! Resources: what there is to read without a tool, by address.
//!
//! The list never changes, because lists must not change with what a client does: what belongs to
//! a session is a template, whose variables complete.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rmcp::ErrorData;
use rmcp::model::{CacheScope, ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde::Serialize;
use serde_json::json;
use simward_protocol::model::ListModels;
use simward_protocol::state::{GetState, Part};

use super::McpServer;
use super::caller::Caller;
use super::refusal::Refusal;
use super::tools::describe_session;
use super::toolsets::Toolset;
use crate::models::Form;
use crate::session::{Session, is_model_id};
use crate::telemetry::PoolStats;
use crate::tenants::Tenant;

/// The longest resource, in bytes.
const RESOURCE_BYTES_MAX: usize = 4 << 20;

/// The forms of resources.
const JSON: &str = "application/json";
const XML: &str = "application/xml";

/// The longest part of an unknown address that is told back.
const TOLD_CHARS_MAX: usize = 200;

/// What an address means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// `sim://sessions`
    Sessions,
    /// `sim://{session_id}/state`
    State {
        /// Whose.
        session_id: String,
    },
    /// `sim://{session_id}/model/{model_id}.xml`
    Model {
        /// Whose.
        session_id: String,
        /// Which of its models.
        model_id: String,
    },
    /// `pool://stats`
    PoolStats,
}

/// The template of [`Address::State`].
const STATE_TEMPLATE: &str = "sim://{session_id}/state";

/// The template of [`Address::Model`].
const MODEL_TEMPLATE: &str = "sim://{session_id}/model/{model_id}.xml";

impl Address {
    /// Reads an address. To add a kind of resource, add it here, to what is listed, and to `text`.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        match uri {
            "sim://sessions" => return Some(Self::Sessions),
            "pool://stats" => return Some(Self::PoolStats),
            _ => (),
        }
        let (session_id, rest) = uri.strip_prefix("sim://")?.split_once('/')?;
        let session_id = session_id.to_owned();
        if rest == "state" {
            return Some(Self::State { session_id });
        }
        let model_id = rest.strip_prefix("model/")?.strip_suffix(".xml")?;
        is_model_id(model_id).then(|| Self::Model { session_id, model_id: model_id.to_owned() })
    }
}

impl McpServer {
    /// The resources that are always there.
    pub(super) fn resources(&self) -> Vec<Resource> {
        let sessions = Resource::new("sim://sessions", "sessions")
            .with_title("Your sessions")
            .with_description("Every session of yours, as list_sessions tells it.")
            .with_mime_type(JSON);
        let stats = Resource::new("pool://stats", "pool_stats")
            .with_title("The process pool")
            .with_description("The pool at a glance, as get_process_pool_stats tells it.")
            .with_mime_type(JSON);
        let mut resources = vec![sessions];
        resources.extend(self.has(Toolset::Pool).then_some(stats));
        resources
    }

    /// The resources that every session has.
    pub(super) fn resource_templates(&self) -> Vec<ResourceTemplate> {
        let state = ResourceTemplate::new(STATE_TEMPLATE, "state")
            .with_title("A session's state")
            .with_description("Positions, velocities and controls of every model of a session.")
            .with_mime_type(JSON);
        let model = ResourceTemplate::new(MODEL_TEMPLATE, "model")
            .with_title("A model's source")
            .with_description("The source of a loaded model, as export_model_xml gives it.")
            .with_mime_type(XML);
        let state = self.has(Toolset::Simulation).then_some(state);
        state.into_iter().chain(self.has(Toolset::Editing).then_some(model)).collect()
    }

    /// Reads a resource.
    pub(super) async fn read(
        &self,
        caller: &Caller,
        uri: &str,
    ) -> Result<ReadResourceResult, ErrorData> {
        let address = self.address(uri).ok_or_else(|| not_found(uri))?;
        let text = self.text(caller, &address).await.map_err(|refusal| refused(uri, refusal))?;
        let form = if matches!(address, Address::Model { .. }) { XML } else { JSON };
        let contents = ResourceContents::text(text, uri).with_mime_type(form);
        // Whatever it is, it is so now, and for its owner.
        let result = ReadResourceResult::new(vec![contents]);
        Ok(result.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    /// What an address means, if that is offered.
    pub(super) fn address(&self, uri: &str) -> Option<Address> {
        let address = Address::parse(uri)?;
        let offered = match address {
            Address::Sessions => true,
            Address::State { .. } => self.has(Toolset::Simulation),
            Address::Model { .. } => self.has(Toolset::Editing),
            Address::PoolStats => self.has(Toolset::Pool),
        };
        offered.then_some(address)
    }

    async fn text(&self, caller: &Caller, address: &Address) -> Result<String, Refusal> {
        match address {
            Address::Sessions => {
                let sessions = self.sessions().list(&caller.tenant);
                let sessions: Vec<_> = sessions.iter().map(describe_session).collect();
                write(&json!({ "sessions": sessions }))
            }
            Address::State { session_id } => self.state(caller, session_id).await,
            Address::Model { session_id, model_id } => {
                let session = self.session(caller, Some(session_id)).await?;
                let (models, max) = (self.models(), RESOURCE_BYTES_MAX);
                let export = models.export(&session, Some(model_id), Form::Source, max);
                Ok(caller.unless_withdrawn(export).await?.model_xml)
            }
            Address::PoolStats => write(&PoolStats::look(&self.inner.watch, self.sessions()).await),
        }
    }

    async fn state(&self, caller: &Caller, session_id: &str) -> Result<String, Refusal> {
        let session = Some(session_id);
        let models = self.ask(caller, session, ListModels {}).await?.models;
        let (mut states, mut bytes) = (Vec::new(), 0);
        for model in models {
            let call = GetState { model_id: Some(model.model_id), include: Part::DEFAULT.to_vec() };
            let state = write(&self.ask(caller, session, call).await?)?;
            bytes += state.len();
            if RESOURCE_BYTES_MAX < bytes {
                return Err(too_long());
            }
            states.push(state);
        }
        let head = write(&session_id)?;
        Ok(format!("{{\"session_id\":{head},\"models\":[{}]}}", states.join(",")))
    }

    /// A number that is another one once a resource has changed; nothing if it does not exist.
    /// Looking is no use of a session.
    pub(super) fn mark(&self, tenant: &Tenant, address: &Address) -> Option<u64> {
        let mut mark = DefaultHasher::new();
        match address {
            Address::Sessions => {
                for session in self.sessions().list(tenant) {
                    mark_session(&session, &mut mark);
                }
            }
            Address::State { session_id } => {
                let sessions = self.sessions().list(tenant);
                let session = sessions.iter().find(|session| *session.plan().id == **session_id)?;
                mark_session(session, &mut mark);
                session.changes().hash(&mut mark);
                let status = session.status();
                let steps = |worker: &crate::worker::Worker| worker.status().vitals.steps_total;
                status.worker.as_ref().map(|(worker, _)| steps(worker)).hash(&mut mark);
            }
            Address::Model { session_id, model_id } => {
                let sessions = self.sessions().list(tenant);
                let session = sessions.iter().find(|session| *session.plan().id == **session_id)?;
                let (_, model) = session.held_model(Some(model_id)).ok()?;
                model.key.hash(&mut mark);
            }
            Address::PoolStats => {
                for session in self.sessions().all() {
                    mark_session(&session, &mut mark);
                }
            }
        }
        Some(mark.finish())
    }
}

fn mark_session(session: &Session, mark: &mut DefaultHasher) {
    let status = session.status();
    (&session.plan().id, status.state.name(), status.restarts, status.losses).hash(mark);
}

fn write(value: &impl Serialize) -> Result<String, Refusal> {
    let text = serde_json::to_string(value).map_err(|_not_json| Refusal::internal())?;
    if RESOURCE_BYTES_MAX < text.len() { Err(too_long()) } else { Ok(text) }
}

fn too_long() -> Refusal {
    let message = format!(
        "a resource may have {RESOURCE_BYTES_MAX} bytes, and this one has more; get_state reads \
         the parts that you name"
    );
    Refusal::too_large(message)
}

pub(super) fn not_found(uri: &str) -> ErrorData {
    let uri: String = uri.chars().take(TOLD_CHARS_MAX).collect();
    ErrorData::resource_not_found(format!("there is no resource `{uri}`"), None)
}

/// A refusal, as an error of the protocol: reading has no other.
fn refused(uri: &str, refusal: Refusal) -> ErrorData {
    let missing = refusal.is_of_something_missing();
    let refusal = refusal.into_value();
    if missing {
        return not_found(uri);
    }
    let message = refusal["message"].as_str().unwrap_or_default().to_owned();
    ErrorData::internal_error(message, Some(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_mean_what_their_templates_say() {
        let session_id = "sim_0123".to_owned();
        let uri = STATE_TEMPLATE.replace("{session_id}", &session_id);
        assert_eq!(Address::parse(&uri), Some(Address::State { session_id }));
        let (session_id, model_id) = ("sim_0123".to_owned(), "arm.2".to_owned());
        let uri = MODEL_TEMPLATE.replace("{session_id}", &session_id);
        let uri = uri.replace("{model_id}", &model_id);
        assert_eq!(Address::parse(&uri), Some(Address::Model { session_id, model_id }));
        assert_eq!(Address::parse("sim://sessions"), Some(Address::Sessions));
        assert_eq!(Address::parse("pool://stats"), Some(Address::PoolStats));
        for wrong in [
            "",
            "sim://",
            "sim://a",
            "sim://a/b",
            "sim://a/state/",
            "sim://a/model/x",
            "sim://a/model/.xml",
            "sim://a/model/../x.xml",
            "file:///etc/passwd",
        ] {
            assert_eq!(Address::parse(wrong), None, "{wrong}");
        }
    }
}
