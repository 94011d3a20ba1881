//! Resources: text, bytes, those of a template, and one that can be subscribed to.

use rmcp::model::{ReadResourceResult, Resource, ResourceContents, ResourceTemplate};
use serde_json::json;

use super::content;

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const WATCHED: &str = "test://watched-resource";

pub(super) fn list() -> Vec<Resource> {
    let resource = |uri, name| {
        Resource::new(uri, name).with_description("A resource for the conformance suite")
    };
    vec![
        resource(TEXT, "text").with_mime_type("text/plain"),
        resource(BINARY, "binary").with_mime_type("image/png"),
        resource(WATCHED, "watched").with_mime_type("text/plain"),
    ]
}

pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new("test://template/{id}/data", "template")
        .with_description("A resource for the conformance suite")
        .with_mime_type("application/json")
}

/// A resource, if it is one of these.
pub(super) fn read(uri: &str) -> Option<ReadResourceResult> {
    let contents = match uri {
        TEXT => {
            let text = "This is the content of the static text resource.";
            ResourceContents::text(text, uri).with_mime_type("text/plain")
        }
        WATCHED => ResourceContents::text("It stays as it is.", uri).with_mime_type("text/plain"),
        BINARY => ResourceContents::blob(content::red_pixel(), uri).with_mime_type("image/png"),
        _ => {
            let id = uri.strip_prefix("test://template/")?.strip_suffix("/data")?;
            let data = json!({
                "id": id,
                "templateTest": true,
                "data": format!("Data for ID: {id}"),
            });
            ResourceContents::text(data.to_string(), uri).with_mime_type("application/json")
        }
    };
    Some(ReadResourceResult::new(vec![contents]))
}

pub(super) fn is_watched(uri: &str) -> bool {
    uri == WATCHED
}
