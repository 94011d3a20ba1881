//! Tools as they are sent: exact in what a call may be, brief in everything else.
//!
//! Every word here is paid for by every client, in every conversation.

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{JsonObject, Tool};
use serde_json::{Value, json};

/// Makes a tool as brief as it can be without losing what a call needs.
pub(super) fn make(tool: &mut Tool) {
    if let Some(text) = &tool.description {
        tool.description = Some(Cow::Owned(one_line(text)));
    }
    // Of what only reads, the others say nothing: the protocol has them mean something only of what
    // changes something.
    if let Some(annotations) = &mut tool.annotations
        && annotations.read_only_hint == Some(true)
    {
        (annotations.destructive_hint, annotations.idempotent_hint) = (None, None);
    }
    let input = Arc::make_mut(&mut tool.input_schema);
    input.remove("$schema");
    each(input, &arguments);
    inline(input);
    if let Some(output) = &mut tool.output_schema {
        *output = Arc::new(result(output));
    }
}

/// Removes the formats that JSON Schema does not know, such as `uint64`: strict clients warn of
/// each one. And those that say what the type says.
pub(super) fn strip_formats(schema: &mut JsonObject) {
    each(schema, &|schema| {
        let strange = |format: &str| {
            ["uint", "int"].iter().any(|kind| format.starts_with(kind)) || format == "double"
        };
        if schema.get("format").and_then(Value::as_str).is_some_and(strange) {
            schema.remove("format");
        }
    });
}

/// What an argument may be stays; why a value of a list is there is in the documentation.
fn arguments(schema: &mut JsonObject) {
    // That nothing is given is what being optional means.
    if schema.get("default").is_some_and(is_nothing) {
        schema.remove("default");
    }
    // So is null, which nobody has to write.
    if let Some(Value::Array(kinds)) = schema.get_mut("type") {
        kinds.retain(|kind| kind != "null");
        if let [kind] = kinds.as_slice() {
            let kind = kind.clone();
            schema.insert("type".to_owned(), kind);
        }
    }
    if let Some(Value::Array(choices)) = schema.get("anyOf")
        && let [one] = choices.iter().filter(|choice| !is_null(choice)).collect::<Vec<_>>()[..]
        && choices.len() == 2
    {
        let one = one.clone();
        schema.remove("anyOf");
        lay_under(schema, &one);
    }
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = one_line(text);
    }
    join_choices(schema);
}

fn is_null(schema: &Value) -> bool {
    schema.get("type") == Some(&json!("null"))
}

/// Adds what another schema says, as far as this one does not say it itself.
fn lay_under(schema: &mut JsonObject, other: &Value) {
    for (word, value) in other.as_object().into_iter().flatten() {
        schema.entry(word).or_insert_with(|| value.clone());
    }
}

/// Writes definitions that are meant once where they are meant.
fn inline(schema: &mut JsonObject) {
    let Some(Value::Object(mut defs)) = schema.remove("$defs") else { return };
    // What is meant within itself has no end.
    loop {
        let whole = json!([schema, defs]).to_string();
        let is_meant_once = |name: &&String| whole.matches(&reference(name)).count() == 1;
        let Some(name) = defs.keys().find(is_meant_once).cloned() else { break };
        let Some(meant) = defs.remove(&name) else { break };
        let name = format!("#/$defs/{name}");
        let put = |schema: &mut JsonObject| {
            if schema.get("$ref") == Some(&json!(name)) {
                schema.remove("$ref");
                lay_under(schema, &meant);
            }
        };
        each(schema, &put);
        defs.values_mut().for_each(|def| each_below(def, &put));
    }
    if !defs.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(defs));
    }
}

/// How a definition is meant, as text.
fn reference(name: &str) -> String {
    format!("{}:{}", json!("$ref"), json!(format!("#/$defs/{name}")))
}

/// Of a result only the names and types of its fields are told. What is below them, and which of
/// them are always there, the result itself shows.
fn result(schema: &JsonObject) -> JsonObject {
    let mut brief = JsonObject::new();
    brief.insert("type".to_owned(), json!("object"));
    let defs = schema.get("$defs").and_then(Value::as_object);
    if let Some(Value::Object(fields)) = schema.get("properties") {
        let fields = fields
            .iter()
            .map(|(name, field)| (name.clone(), Value::Object(kind(field, defs, REFERENCES_MAX))));
        brief.insert("properties".to_owned(), Value::Object(fields.collect()));
    }
    brief
}

/// How many references are followed to find out what a field is.
const REFERENCES_MAX: usize = 4;

/// What a field is. Of one that may be null nothing is told: strict clients warn of two types.
fn kind(field: &Value, defs: Option<&JsonObject>, depth: usize) -> JsonObject {
    let Some(field) = field.as_object().filter(|_| depth != 0) else {
        return JsonObject::new();
    };
    if let Some(name) = field.get("$ref").and_then(Value::as_str) {
        let name = name.trim_start_matches("#/$defs/");
        let meant = defs.and_then(|defs| defs.get(name)).unwrap_or(&Value::Null);
        return kind(meant, defs, depth - 1);
    }
    let may_be_null = field.get("type").is_some_and(Value::is_array);
    if may_be_null || field.contains_key("anyOf") {
        return JsonObject::new();
    }
    let mut field = field.clone();
    // Joins choices of texts, which are of a type then.
    join_choices(&mut field);
    field.retain(|word, _| word == "type");
    field
}

/// Nothing: null, false, or what is empty or has nothing but nothings in it.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Object(fields) => fields.values().all(is_nothing),
        Value::Array(values) => values.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) => false,
    }
}

/// Writes a choice of texts, each explained, as a list of texts.
fn join_choices(schema: &mut JsonObject) {
    let Some(Value::Array(choices)) = schema.get("oneOf") else { return };
    let mut texts = Vec::new();
    for choice in choices {
        match (choice.get("const"), choice.get("enum")) {
            (Some(text), _) if text.is_string() => texts.push(text.clone()),
            (_, Some(Value::Array(some))) => texts.extend(some.iter().cloned()),
            _ => return,
        }
    }
    schema.remove("oneOf");
    schema.insert("type".to_owned(), json!("string"));
    schema.insert("enum".to_owned(), Value::Array(texts));
}

/// Does something to a schema and to every schema in it.
fn each(schema: &mut JsonObject, change: &impl Fn(&mut JsonObject)) {
    change(schema);
    schema.values_mut().for_each(|value| each_below(value, change));
}

fn each_below(value: &mut Value, change: &impl Fn(&mut JsonObject)) {
    match value {
        Value::Object(schema) => each(schema, change),
        Value::Array(values) => values.iter_mut().for_each(|value| each_below(value, change)),
        _ => (),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: &Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_optional_is_of_one_type_and_what_is_meant_once_stands_where_it_is_meant() {
        let mut schema = object(&json!({
            "properties": {
                "name": { "type": ["string", "null"], "description": "A\n name." },
                "way": { "anyOf": [{ "$ref": "#/$defs/Way" }, { "type": "null" }] },
                "on": { "type": "boolean", "default": false },
                "many": { "type": "integer", "default": 5 },
                "tree": { "$ref": "#/$defs/Tree" },
            },
            "$defs": {
                "Way": { "type": "string", "enum": ["there", "back"] },
                "Tree": { "type": "array", "items": { "$ref": "#/$defs/Tree" } },
            },
        }));
        each(&mut schema, &arguments);
        inline(&mut schema);
        let expected = json!({
            "properties": {
                "name": { "type": "string", "description": "A name." },
                "way": { "type": "string", "enum": ["there", "back"] },
                "on": { "type": "boolean" },
                "many": { "type": "integer", "default": 5 },
                "tree": { "$ref": "#/$defs/Tree" },
            },
            "$defs": { "Tree": { "type": "array", "items": { "$ref": "#/$defs/Tree" } } },
        });
        assert_eq!(Value::Object(schema), expected);
    }
}
