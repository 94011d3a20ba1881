//! Tools that answer at once: one for each kind of content.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures::FutureExt as _;
use rmcp::handler::server::router::tool::ToolRoute;
use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ResourceContents};
use serde_json::json;

use super::{Call, Fixtures, route, said, tool, tool_of};

pub(super) fn routes() -> Vec<ToolRoute<Fixtures>> {
    let answers = [
        ("test_simple_text", "Answers with text", simple_text()),
        ("test_image_content", "Answers with a picture", of(vec![image()])),
        ("test_audio_content", "Answers with a sound", of(vec![audio()])),
        ("test_embedded_resource", "Answers with a resource", of(vec![embedded()])),
        ("test_multiple_content_types", "Answers with several kinds", of(mixed())),
        ("test_error_handling", "Refuses", refusal()),
    ];
    let mut routes: Vec<_> = answers
        .into_iter()
        .map(|(name, description, answer)| {
            route(tool(name, description), move |_| std::future::ready(Ok(answer.clone())).boxed())
        })
        .collect();
    routes.extend([route(with_rich_schema(), |_| nothing()), route(with_header(), greet)]);
    routes
}

fn of(content: Vec<ContentBlock>) -> CallToolResponse {
    CallToolResult::success(content).into()
}

fn simple_text() -> CallToolResponse {
    said("This is a simple text response for testing.")
}

fn refusal() -> CallToolResponse {
    let text = "This tool intentionally returns an error for testing";
    CallToolResult::error(vec![ContentBlock::text(text)]).into()
}

fn mixed() -> Vec<ContentBlock> {
    let data = json!({ "test": "data", "value": 123 }).to_string();
    let resource = ResourceContents::text(data, "test://mixed-content-resource")
        .with_mime_type("application/json");
    vec![
        ContentBlock::text("Multiple content types test:"),
        image(),
        ContentBlock::resource(resource),
    ]
}

fn embedded() -> ContentBlock {
    let text = "This is an embedded resource content.";
    let resource = ResourceContents::text(text, "test://embedded-resource");
    ContentBlock::resource(resource.with_mime_type("text/plain"))
}

pub(super) fn image() -> ContentBlock {
    ContentBlock::image(red_pixel(), "image/png")
}

/// A picture of one red pixel, in base64.
pub(super) fn red_pixel() -> String {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&[255, 0, 0]).unwrap();
    writer.finish().unwrap();
    BASE64_STANDARD.encode(bytes)
}

/// A WAV file of two silent samples.
fn audio() -> ContentBlock {
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend(40_u32.to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16_u32.to_le_bytes());
    // PCM, one channel, 8000 samples in a second, of two bytes each.
    for short in [1_u16, 1, 8000, 0, 16_000, 0, 2, 16] {
        bytes.extend(short.to_le_bytes());
    }
    bytes.extend(b"data");
    bytes.extend(4_u32.to_le_bytes());
    bytes.extend([0; 4]);
    ContentBlock::audio(BASE64_STANDARD.encode(bytes), "audio/wav")
}

/// A tool whose schema uses what JSON Schema 2020-12 has and earlier ones have not.
fn with_rich_schema() -> rmcp::model::Tool {
    tool_of(
        "json_schema_2020_12_tool",
        "Is described with much of JSON Schema 2020-12",
        json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": { "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
            } },
            "properties": {
                "name": { "type": "string" },
                "address": { "$ref": "#/$defs/address" },
                "contactMethod": { "type": "string", "enum": ["phone", "email"] },
                "phone": { "type": "string" },
                "email": { "type": "string" },
            },
            "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
            "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
            "then": { "required": ["phone"] },
            "else": { "required": ["email"] },
            "additionalProperties": false,
        }),
    )
}

fn nothing<'a>() -> super::Answer<'a> {
    std::future::ready(Ok(said("nothing"))).boxed()
}

/// A tool with an argument that travels in a header, too.
fn with_header() -> rmcp::model::Tool {
    tool_of(
        "test_custom_header",
        "Greets whom a header names, too",
        json!({
            "type": "object",
            "properties": { "whom": { "type": "string", "x-mcp-header": "Whom" } },
            "required": ["whom"],
            "additionalProperties": false,
        }),
    )
}

fn greet(call: Call<'_>) -> super::Answer<'_> {
    let whom = super::text_argument(&call, "whom");
    std::future::ready(Ok(said(format!("Hello, {whom}!")))).boxed()
}
