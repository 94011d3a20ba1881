//! Schemas in words.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use super::rows;

/// Objects and choices that have a name, and a table of their own.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    /// By name: the shape, and the schema in which its references lie.
    known: BTreeMap<String, (JsonObject, JsonObject)>,
    /// By result: the tool at which it was told.
    results: BTreeMap<String, String>,
}

impl Shapes {
    /// The tool at which the same result was told before.
    pub(super) fn told(&mut self, tool: &str, result: &JsonObject) -> Option<String> {
        let result = serde_json::to_string(result).unwrap_or_default();
        let told = self.results.get(&result).cloned();
        self.results.entry(result).or_insert_with(|| tool.to_owned());
        told
    }

    /// A schema's type in words. `tells_null` says whether null is worth a word.
    pub(super) fn kind(&mut self, schema: &Value, root: &JsonObject, tells_null: bool) -> String {
        let null = |nullable: bool| if nullable && tells_null { " or null" } else { "" };
        let Some(schema) = schema.as_object() else { return "anything".to_owned() };
        if let Some(Value::Array(choices)) = schema.get("anyOf") {
            let (nulls, others): (Vec<_>, Vec<_>) =
                choices.iter().partition(|choice| choice.get("type") == Some(&"null".into()));
            let words: Vec<_> =
                others.iter().map(|choice| self.kind(choice, root, tells_null)).collect();
            return words.join(" or ") + null(!nulls.is_empty());
        }
        if let Some((name, meant)) = referred(schema, root) {
            return match choices(meant) {
                Some(texts) if !explains(meant) => texts,
                _ => self.link(&name, meant, root),
            };
        }
        if let Some(texts) = choices(schema) {
            return texts;
        }
        let kinds = kinds(schema);
        let nullable = kinds.contains(&"null");
        let kinds: Vec<_> = kinds.into_iter().filter(|kind| *kind != "null").collect();
        let words = match kinds.as_slice() {
            [] => "anything".to_owned(),
            // What JSON cannot write is a text.
            ["number", "string"] => "number".to_owned(),
            ["array", "object"] => "vector".to_owned(),
            [kind] => self.kind_of_one(kind, schema, root),
            _ => kinds.iter().map(|kind| plain(kind)).collect::<Vec<_>>().join(" or "),
        };
        words + null(nullable)
    }

    fn kind_of_one(&mut self, kind: &str, schema: &JsonObject, root: &JsonObject) -> String {
        let below = |word: &str| schema.get(word).filter(|value| value.is_object()).cloned();
        match kind {
            "array" => match below("items") {
                Some(items) => format!("list of {}", self.kind(&items, root, true)),
                None => "list".to_owned(),
            },
            "object" => match below("additionalProperties") {
                Some(values) => format!("{} by name", self.kind(&values, root, true)),
                None => "object".to_owned(),
            },
            _ => plain(kind).to_owned(),
        }
    }

    /// Remembers a shape, and links to its table.
    fn link(&mut self, name: &str, shape: &JsonObject, root: &JsonObject) -> String {
        let mut name = name.to_owned();
        while self.known.get(&name).is_some_and(|(known, _)| facts(known) != facts(shape)) {
            name.push('\'');
        }
        self.known.entry(name.clone()).or_insert_with(|| (shape.clone(), root.clone()));
        let anchor = name.to_lowercase().replace('\'', "");
        format!("[{name}](#{anchor})")
    }

    /// A table for each shape; also for those that are only met in another's table.
    pub(super) fn tables(&mut self) -> String {
        let mut tables = BTreeMap::new();
        while let Some((name, (shape, root))) =
            self.known.clone().into_iter().find(|(name, _)| !tables.contains_key(name))
        {
            let mut table = format!("### {name}\n\n");
            if let Some(text) = shape.get("description").and_then(Value::as_str) {
                writeln!(table, "{text}\n").ok();
            }
            if let Some(Value::Array(choices)) = shape.get("oneOf") {
                table.push_str("| value | meaning |\n|---|---|\n");
                for choice in choices {
                    let value = choice.get("const").and_then(Value::as_str).unwrap_or_default();
                    let meaning = choice.get("description").and_then(Value::as_str);
                    let meaning = cell(meaning.unwrap_or_default());
                    writeln!(table, "| `{value}` | {meaning} |").ok();
                }
            } else {
                table.push_str("| field | type | meaning |\n|---|---|---|\n");
                table.push_str(&rows(&shape, &root, self));
            }
            table.push('\n');
            tables.insert(name, table);
        }
        tables.into_values().collect()
    }
}

/// What distinguishes a shape from another one of the same name.
fn facts(shape: &JsonObject) -> (Option<Vec<&String>>, Option<String>) {
    let fields = shape.get("properties").and_then(Value::as_object);
    (fields.map(|fields| fields.keys().collect()), choices(shape))
}

/// What a schema refers to, and under which name.
fn referred<'a>(
    schema: &JsonObject,
    root: &'a JsonObject,
) -> Option<(String, &'a Map<String, Value>)> {
    let name = schema.get("$ref")?.as_str()?.trim_start_matches("#/$defs/");
    Some((name.to_owned(), root.get("$defs")?.get(name)?.as_object()?))
}

fn explains(schema: &JsonObject) -> bool {
    let choices = schema.get("oneOf").and_then(Value::as_array);
    choices.is_some_and(|choices| choices.iter().any(|choice| choice.get("description").is_some()))
}

/// The texts that a choice of texts allows.
fn choices(schema: &JsonObject) -> Option<String> {
    let texts: Vec<_> = match (schema.get("enum"), schema.get("oneOf")) {
        (Some(Value::Array(texts)), _) => texts.iter().filter_map(Value::as_str).collect(),
        (_, Some(Value::Array(choices))) => {
            choices.iter().filter_map(|choice| choice.get("const")?.as_str()).collect()
        }
        _ => return None,
    };
    Some(texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", "))
}

fn kinds(schema: &JsonObject) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(kind)) => vec![kind],
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn plain(kind: &str) -> &str {
    match kind {
        "integer" => "whole number",
        "string" => "text",
        "boolean" => "true or false",
        kind => kind,
    }
}

/// The default, as JSON; nothing where nothing is the default.
pub(super) fn default(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(fields)) if fields.values().all(Value::is_null) => String::new(),
        Some(value) => format!("`{}`", cell(&value.to_string())),
    }
}

/// Between which bounds a value lies.
pub(super) fn range(schema: &Value) -> String {
    let bound = |words: [&str; 2]| words.into_iter().find_map(|word| schema.get(word).cloned());
    let least = bound(["minimum", "minItems"]);
    let most = bound(["maximum", "maxItems"]);
    match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("from {least}"),
        (None, Some(most)) => format!("up to {most}"),
        (None, None) => String::new(),
    }
}

/// What a field means: by its own description, or by that of what it refers to.
pub(super) fn meaning(schema: &Value, root: &JsonObject) -> String {
    let own = schema.get("description").and_then(Value::as_str);
    let meant = || {
        let (_, meant) = referred(schema.as_object()?, root)?;
        meant.get("description")?.as_str()
    };
    cell(own.or_else(meant).unwrap_or_default())
}

/// A text as a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
