//! Resources: what there is to read without a tool, by address.
//!
//! The list never changes, because lists must not change with what a client does: what belongs to
//! a session is a template, whose variables complete.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
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
use crate::alerts::LISTED_MAX;
use crate::alerts::report::{Filter, Seen};
use crate::auth::{Principal, Scope};
use crate::models::Form;
use crate::profiles;
use crate::recordings::{self, Format};
use crate::session::{Session, is_model_id};
use crate::telemetry::PoolStats;

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
    /// `sim://{session_id}/recordings/{recording_id}.{format}`
    Recording {
        /// Whose.
        session_id: String,
        /// Which one.
        recording_id: String,
        /// In which form.
        format: Format,
        /// The first row, and how many.
        rows: (Option<u64>, Option<u64>),
    },
    /// `sim://profiles/{profile_id}.{format}`
    Profile {
        /// Which one.
        profile_id: String,
        /// In which form.
        form: profiles::Form,
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
    /// `performance://alerts`
    Alerts,
}

/// The template of [`Address::State`].
const STATE_TEMPLATE: &str = "sim://{session_id}/state";

/// The template of [`Address::Recording`].
const RECORDING_TEMPLATE: &str =
    "sim://{session_id}/recordings/{recording_id}.{format}{?first_row,rows}";
/// The template of [`Address::Profile`].
const PROFILE_TEMPLATE: &str = "sim://profiles/{profile_id}.{format}";
/// The template of [`Address::Model`].
const MODEL_TEMPLATE: &str = "sim://{session_id}/model/{model_id}.xml";

impl Address {
    /// What whoever reads it must be allowed to do.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::PoolStats => Scope::AdministerPool,
            _ => Scope::Use,
        }
    }

    /// Reads an address. To add a kind of resource, add it here, to what is listed, and to `text`.
    pub(super) fn parse(uri: &str) -> Option<Self> {
        match uri {
            "sim://sessions" => return Some(Self::Sessions),
            "pool://stats" => return Some(Self::PoolStats),
            "performance://alerts" => return Some(Self::Alerts),
            _ => (),
        }
        let (session_id, rest) = uri.strip_prefix("sim://")?.split_once('/')?;
        if session_id == "profiles" {
            let (profile_id, form) = rest.rsplit_once('.')?;
            let form = profiles::Form::named(form)?;
            return Some(Self::Profile { profile_id: profile_id.to_owned(), form });
        }
        let session_id = session_id.to_owned();
        match rest.split_once('/') {
            None => (rest == "state").then_some(Self::State { session_id }),
            Some(("recordings", recording)) => Self::recording(session_id, recording),
            Some(("model", model)) => {
                let model_id = model.strip_suffix(".xml").filter(|id| is_model_id(id))?;
                Some(Self::Model { session_id, model_id: model_id.to_owned() })
            }
            Some(_) => None,
        }
    }

    fn recording(session_id: String, rest: &str) -> Option<Self> {
        let (name, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (recording_id, format) = name.rsplit_once('.')?;
        let (recording_id, format) = (recording_id.to_owned(), Format::named(format)?);
        let mut rows = (None, None);
        for part in query.split('&').filter(|part| !part.is_empty()) {
            match part.split_once('=')? {
                ("first_row", value) => rows.0 = Some(value.parse().ok()?),
                ("rows", value) => rows.1 = Some(value.parse().ok()?),
                _ => return None,
            }
        }
        Some(Self::Recording { session_id, recording_id, format, rows })
    }
}

impl McpServer {
    /// The resources that are always there.
    pub(super) fn resources(&self, principal: &Principal) -> Vec<Resource> {
        let sessions = Resource::new("sim://sessions", "sessions")
            .with_title("Your sessions")
            .with_description("Every session of yours, as list_sessions tells it.")
            .with_mime_type(JSON);
        let stats = Resource::new("pool://stats", "pool_stats")
            .with_title("The process pool")
            .with_description("The pool at a glance, as get_process_pool_stats tells it.")
            .with_mime_type(JSON);
        let alerts = Resource::new("performance://alerts", "alerts")
            .with_title("Alerts")
            .with_description("What is wrong now, as get_performance_alerts tells it.")
            .with_mime_type(JSON);
        let all = [
            (Scope::Use, true, sessions),
            (Scope::AdministerPool, self.has(Toolset::Pool), stats),
            (Scope::Use, self.has(Toolset::Performance), alerts),
        ];
        let seen = all.into_iter().filter(|(scope, is_on, _)| *is_on && principal.may(*scope));
        seen.map(|(_, _, resource)| resource).collect()
    }

    /// The resources that every session has.
    pub(super) fn resource_templates(&self) -> Vec<ResourceTemplate> {
        let state = ResourceTemplate::new(STATE_TEMPLATE, "state")
            .with_title("A session's state")
            .with_description("Positions, velocities and controls of every model of a session.")
            .with_mime_type(JSON);
        let recording = ResourceTemplate::new(RECORDING_TEMPLATE, "recording")
            .with_title("A recording")
            .with_description("A recording in one of the forms of export_recording, up to 16 MiB.");
        let model = ResourceTemplate::new(MODEL_TEMPLATE, "model")
            .with_title("A model's source")
            .with_description("The source of a loaded model, as export_model_xml gives it.")
            .with_mime_type(XML);
        let profile = ResourceTemplate::new(PROFILE_TEMPLATE, "profile")
            .with_title("A profile")
            .with_description("A cpu profile as txt, svg, pb (pprof) or json (speedscope).");
        let all = [
            (Toolset::Simulation, state),
            (Toolset::Editing, model),
            (Toolset::Analysis, recording),
            (Toolset::Profiling, profile),
        ];
        let offered = all.into_iter().filter(|(toolset, _)| self.has(*toolset));
        offered.map(|(_, template)| template).collect()
    }

    /// Reads a resource.
    pub(super) async fn read(
        &self,
        caller: &Caller,
        uri: &str,
    ) -> Result<ReadResourceResult, ErrorData> {
        let address = self.address(uri).filter(|it| caller.principal.may(it.scope()));
        let address = address.ok_or_else(|| not_found(uri))?;
        let contents = self.contents(caller, &address, uri).await;
        let contents = contents.map_err(|refusal| refused(uri, refusal))?;
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
            Address::Recording { .. } => self.has(Toolset::Analysis),
            Address::Model { .. } => self.has(Toolset::Editing),
            Address::Profile { .. } => self.has(Toolset::Profiling),
            Address::PoolStats => self.has(Toolset::Pool),
            Address::Alerts => self.has(Toolset::Performance),
        };
        offered.then_some(address)
    }

    async fn contents(
        &self,
        caller: &Caller,
        address: &Address,
        uri: &str,
    ) -> Result<ResourceContents, Refusal> {
        let text = match address {
            Address::Recording { session_id, recording_id, format, rows } => {
                let session = self.session(caller, Some(session_id)).await?;
                let read = recordings::read(&session, recording_id, *format, *rows);
                let bytes = caller.unless_withdrawn(read).await?;
                return Ok(recording(*format, bytes, uri));
            }
            Address::Profile { profile_id, form } => {
                let (job, form) = (self.profiles().get(&caller.tenant, profile_id)?, *form);
                let read = tokio::task::spawn_blocking(move || job.read(form)).await;
                let bytes = read.map_err(|_panic| Refusal::internal())??;
                return Ok(profile(form, bytes, uri));
            }
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
                let xml = caller.unless_withdrawn(export).await?.model_xml;
                return Ok(ResourceContents::text(xml, uri).with_mime_type(XML));
            }
            Address::PoolStats => write(&PoolStats::look(&self.inner.watch, self.sessions()).await),
            Address::Alerts => {
                let filter = Filter { max: LISTED_MAX, ..Filter::default() };
                let listing = self.alerts().list(&seen_by(&caller.principal), &filter);
                write(&json!({ "alerts": listing.alerts, "items_cut": listing.items_cut }))
            }
        };
        Ok(ResourceContents::text(text?, uri).with_mime_type(JSON))
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
    pub(super) fn mark(&self, principal: &Principal, address: &Address) -> Option<u64> {
        let tenant = &principal.tenant;
        let mut mark = DefaultHasher::new();
        match address {
            Address::Sessions => {
                for session in self.sessions().list(tenant) {
                    mark_session(&session, &mut mark);
                }
            }
            Address::State { session_id } | Address::Recording { session_id, .. } => {
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
            // Once there is one it stays as it is.
            Address::Profile { profile_id, .. } => {
                let job = self.profiles().get(tenant, profile_id).ok()?;
                job.outcome().is_some().hash(&mut mark);
            }
            Address::Alerts => self.alerts().mark(&seen_by(principal)).hash(&mut mark),
            Address::PoolStats => {
                for session in self.sessions().all() {
                    mark_session(&session, &mut mark);
                }
            }
        }
        Some(mark.finish())
    }
}

/// Whose alerts somebody sees.
pub(super) fn seen_by(principal: &Principal) -> Seen {
    if principal.may(Scope::AdministerPool) {
        Seen::All
    } else {
        Seen::Of(principal.tenant.to_string())
    }
}

fn mark_session(session: &Session, mark: &mut DefaultHasher) {
    let status = session.status();
    (&session.plan().id, status.state.name(), status.restarts, status.losses).hash(mark);
}

/// An export as a resource: text as it is, anything else in base64.
pub(super) fn recording(format: Format, bytes: Vec<u8>, uri: &str) -> ResourceContents {
    let contents = if format.is_text() {
        ResourceContents::text(String::from_utf8_lossy(&bytes), uri)
    } else {
        ResourceContents::blob(STANDARD.encode(bytes), uri)
    };
    contents.with_mime_type(format.media_type())
}

/// A profile as a resource: text as it is, anything else in base64.
pub(super) fn profile(form: profiles::Form, bytes: Vec<u8>, uri: &str) -> ResourceContents {
    let contents = if form.is_text() {
        ResourceContents::text(String::from_utf8_lossy(&bytes), uri)
    } else {
        ResourceContents::blob(STANDARD.encode(bytes), uri)
    };
    contents.with_mime_type(form.media_type())
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
    let message = format!("there is no resource `{uri}`");
    ErrorData::resource_not_found(message, Some(json!({ "uri": uri })))
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

    #[test]
    fn a_recording_has_an_address_for_each_form_and_for_some_of_its_rows() {
        let parse = |rest: &str| Address::parse(&format!("sim://sim_0123/recordings/{rest}"));
        let recording = |format, rows| {
            let (session_id, recording_id) = ("sim_0123".to_owned(), "rec_1".to_owned());
            Some(Address::Recording { session_id, recording_id, format, rows })
        };
        assert_eq!(parse("rec_1.csv"), recording(Format::Csv, (None, None)));
        let some = (Some(5), Some(10));
        assert_eq!(parse("rec_1.npz?first_row=5&rows=10"), recording(Format::Npz, some));
        for wrong in ["rec_1", "rec_1.exe", "rec_1.csv?rows=-1", "rec_1.csv?all", "rec_1.csv?a=1"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
