//! The tools, one module per family.
//!
//! A tool is an adapter: it names its arguments for a language model, makes one call into the
//! domain, and returns what it got. Anything longer belongs in the domain.

#![expect(
    clippy::doc_markdown,
    clippy::doc_link_with_quotes,
    reason = "the comments are the descriptions that language models read, as plain text"
)]

mod menagerie;
mod models;
mod pool;
mod server;
mod sessions;
mod simulation;
mod state;

use std::sync::Arc;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::JsonObject;
use serde_json::Value;

use super::McpServer;

/// Every tool of every family, as clients see it: the schemas of results say shapes and nothing
/// else, because a client hands the whole list to its model. What a field means is in its name
/// and, in full, in the documentation.
pub(super) fn all() -> ToolRouter<McpServer> {
    let mut router = documented();
    for route in router.map.values_mut() {
        if let Some(schema) = &mut route.attr.output_schema {
            strip_words(Arc::make_mut(schema));
        }
    }
    router
}

/// Every tool of every family, with all that can be said of it.
pub(super) fn documented() -> ToolRouter<McpServer> {
    let mut router = McpServer::server_tools()
        + McpServer::session_tools()
        + McpServer::model_tools()
        + McpServer::menagerie_tools()
        + McpServer::simulation_tools()
        + McpServer::state_tools()
        + McpServer::pool_tools();
    router.map.values_mut().for_each(|route| {
        let tool = &mut route.attr;
        strip_formats(Arc::make_mut(&mut tool.input_schema));
        if let Some(schema) = &mut tool.output_schema {
            strip_formats(Arc::make_mut(schema));
        }
    });
    router
}

/// Removes what is only there to be read.
fn strip_words(schema: &mut JsonObject) {
    for word in ["description", "title", "$schema", "minimum", "default"] {
        // A property may bear such a name.
        if !schema.get(word).is_some_and(Value::is_object) {
            schema.remove(word);
        }
    }
    schema.values_mut().for_each(strip_words_below);
}

fn strip_words_below(value: &mut Value) {
    match value {
        Value::Object(schema) => strip_words(schema),
        Value::Array(values) => values.iter_mut().for_each(strip_words_below),
        _ => (),
    }
}

/// Removes the formats that JSON Schema does not know, such as `uint64`: strict clients warn of
/// each one.
fn strip_formats(schema: &mut JsonObject) {
    schema.retain(|key, value| {
        key != "format" || !value.as_str().is_some_and(|format| format.starts_with("uint"))
    });
    schema.values_mut().for_each(strip_formats_below);
}

fn strip_formats_below(value: &mut Value) {
    match value {
        Value::Object(schema) => strip_formats(schema),
        Value::Array(values) => values.iter_mut().for_each(strip_formats_below),
        _ => (),
    }
}
