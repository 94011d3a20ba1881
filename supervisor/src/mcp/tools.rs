//! The tools, one module per family.
//!
//! A tool is an adapter: it names its arguments for a language model, makes one call into the
//! domain, and returns what it got. Anything longer belongs in the domain.

#![expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "the comments are the descriptions that language models read, as plain text"
)]

mod actuation;
mod alerts;
mod analysis;
mod editing;
mod lean;
mod menagerie;
mod models;
mod monitoring;
mod motion;
mod observation;
mod parallel;
mod pictures;
mod performance;
pub(super) mod pool;
mod profiling;
mod recordings;
mod runs;
mod server;
mod sessions;
mod simulation;
#[cfg(test)]
mod sizes;
mod snapshots;
mod state;
mod viewer;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use rmcp::handler::server::router::tool::ToolRouter;

pub(super) use self::sessions::describe as describe_session;
use super::McpServer;
use super::toolsets::Toolset;
use crate::auth::Scope;

/// Tools that belong together: a module here, and a chapter of the documentation.
pub(super) struct Family {
    /// What its chapter is called.
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is written by a test"))]
    pub(super) title: &'static str,
    /// The toolset that it is part of. Without one it is always there.
    pub(super) toolset: Option<Toolset>,
    /// What whoever calls one of its tools must be allowed to do.
    pub(super) scope: Scope,
    tools: fn() -> ToolRouter<McpServer>,
}

const fn family(
    title: &'static str,
    toolset: Option<Toolset>,
    tools: fn() -> ToolRouter<McpServer>,
) -> Family {
    Family { title, toolset, scope: Scope::Use, tools }
}

impl Family {
    /// One whose tools need another scope.
    const fn needs(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }
}

/// Every family, in the order of the documentation.
pub(super) const FAMILIES: &[Family] = &[
    family("Server", None, McpServer::server_tools),
    family("Sessions", None, McpServer::session_tools),
    family("Runs", None, McpServer::run_tools),
    family("Models", Some(Toolset::Simulation), McpServer::model_tools),
    family("Editing", Some(Toolset::Editing), McpServer::editing_tools),
    family("Menagerie", Some(Toolset::Simulation), McpServer::menagerie_tools),
    family("Simulation", Some(Toolset::Simulation), McpServer::simulation_tools),
    family("State", Some(Toolset::Simulation), McpServer::state_tools),
    family("Actuators and forces", Some(Toolset::Simulation), McpServer::actuation_tools),
    family("Snapshots", Some(Toolset::Simulation), McpServer::snapshot_tools),
    family("Many simulations", Some(Toolset::Simulation), McpServer::parallel_tools),
    family("Observation", Some(Toolset::Analysis), McpServer::observation_tools),
    family("Analysis", Some(Toolset::Analysis), McpServer::analysis_tools),
    family("Motion", Some(Toolset::Analysis), McpServer::motion_tools),
    family("Sweeps", Some(Toolset::Analysis), McpServer::sweep_tools),
    family("Recordings", Some(Toolset::Analysis), McpServer::recording_tools),
    family("Pictures", Some(Toolset::Simulation), McpServer::picture_tools),
    family("Viewer", Some(Toolset::Simulation), McpServer::viewer_tools),
    family("Performance", Some(Toolset::Performance), McpServer::performance_tools),
    family("Monitoring", Some(Toolset::Performance), McpServer::monitoring_tools),
    family("Alerts", Some(Toolset::Performance), McpServer::alert_tools),
    family("Profiling", Some(Toolset::Profiling), McpServer::profiling_tools),
    family("Pool", Some(Toolset::Pool), McpServer::pool_tools).needs(Scope::AdministerPool),
];

impl Family {
    /// The family's tools, with all that can be said of them.
    pub(super) fn documented(&self) -> ToolRouter<McpServer> {
        let mut router = (self.tools)();
        router.map.values_mut().for_each(|route| {
            let tool = &mut route.attr;
            lean::strip_formats(Arc::make_mut(&mut tool.input_schema));
            if let Some(schema) = &mut tool.output_schema {
                lean::strip_formats(Arc::make_mut(schema));
            }
        });
        router
    }
}

/// What whoever calls a tool must be allowed to do, by the tool's name.
static SCOPES: LazyLock<HashMap<String, Scope>> = LazyLock::new(|| {
    let of = |family: &Family| {
        let scope = family.scope;
        (family.tools)().map.into_keys().map(move |name| (name.into_owned(), scope))
    };
    FAMILIES.iter().flat_map(of).collect()
});

/// What whoever calls a tool must be allowed to do; nothing if there is no such tool.
pub(super) fn scope_of(tool: &str) -> Option<Scope> {
    SCOPES.get(tool).copied()
}

/// The tools of some toolsets, and those that are always there, as clients see them. A client hands
/// the whole list to its model, so it says what a call needs and little else: what a result means
/// is in its names and, in full, in the documentation.
pub(super) fn of(toolsets: &[Toolset]) -> ToolRouter<McpServer> {
    let mut router = ToolRouter::new();
    for family in FAMILIES {
        if family.toolset.is_none_or(|toolset| toolsets.contains(&toolset)) {
            router.merge(family.documented());
        }
    }
    router.map.values_mut().for_each(|route| lean::make(&mut route.attr));
    router
}
