//! The page on tools, written out of the tools themselves: what they say of themselves to clients,
//! and what is left out there to be brief.
//!
//! What cannot be told from a tool's declaration (examples, refusals, what goes on behind) stands
//! in `docs/answers.md`, to which this page links.

mod schema;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use rmcp::model::{JsonObject, Tool};
use serde_json::Value;

use self::schema::Shapes;
use super::tools::{FAMILIES, Family};

/// The whole page. `answers` is the page with examples.
fn page(answers: &str) -> String {
    let chapters: Vec<(&Family, Vec<Tool>)> =
        FAMILIES.iter().map(|family| (family, family.documented().list_all())).collect();
    let tools = || chapters.iter().flat_map(|(_, tools)| tools);
    let mut page = head(&chapters, tools().count());
    let mut shapes = Shapes::default();
    for (family, tools) in &chapters {
        chapter(&mut page, family, tools, answers, &mut shapes);
    }
    let shapes = shapes.tables();
    if !shapes.is_empty() {
        page.push_str("## Shapes\n\nWhat arguments and results consist of.\n\n");
        page.push_str(&shapes);
    }
    page
}

fn head(chapters: &[(&Family, Vec<Tool>)], count: usize) -> String {
    let mut head = format!(
        "# The tools\n\n\
         This page is written by `SIMWARD_UPDATE_DOCS=1 cargo test -p simward-supervisor document`.\n\
         Change it where it comes from: in `supervisor/src/mcp/tools/` and `protocol/src/`.\n\n\
         There are {count} tools, in {} families.\n\
         What holds for all of them, what they refuse, and real answers: [answers.md](answers.md).\n\
         Which toolsets are on is said by `mcp.toolsets` of the configuration, or `--toolsets`; \
         without either all of them are.\n\n\
         | family | toolset | tools |\n|---|---|---|\n",
        chapters.len()
    );
    for (family, tools) in chapters {
        let links: Vec<_> = tools.iter().map(|tool| format!("[`{0}`](#{0})", tool.name)).collect();
        let toolset = toolset(family);
        writeln!(head, "| {} | {toolset} | {} |", family.title, links.join(", ")).ok();
    }
    head.push('\n');
    head
}

fn toolset(family: &Family) -> String {
    let name = family.toolset.map(|toolset| serde_json::to_value(toolset).unwrap_or_default());
    match name {
        Some(Value::String(name)) => format!("`{name}`"),
        _ => "always there".to_owned(),
    }
}

fn chapter(page: &mut String, family: &Family, tools: &[Tool], answers: &str, shapes: &mut Shapes) {
    writeln!(page, "## {}\n", family.title).ok();
    for tool in tools {
        section(page, tool, shapes);
        if answers.contains(&format!("### `{}`\n", tool.name)) {
            writeln!(page, "More, with examples: [answers.md](answers.md#{}).\n", tool.name).ok();
        }
    }
}

fn section(page: &mut String, tool: &Tool, shapes: &mut Shapes) {
    writeln!(page, "### `{}`\n", tool.name).ok();
    let title = tool.title.as_deref().unwrap_or_default();
    writeln!(page, "*{title}.* {}\n", nature(tool)).ok();
    writeln!(page, "{}\n", tool.description.as_deref().unwrap_or_default()).ok();
    match arguments(&tool.input_schema, shapes) {
        None => page.push_str("It takes no arguments.\n\n"),
        Some(table) => {
            page.push_str(
                "| argument | type | default | range | meaning |\n|---|---|---|---|---|\n",
            );
            writeln!(page, "{table}").ok();
        }
    }
    if let Some(output) = &tool.output_schema {
        match shapes.told(&tool.name, output) {
            Some(other) => writeln!(page, "Result: as of [`{other}`](#{other}).\n").ok(),
            None => writeln!(page, "{}", results(output, shapes)).ok(),
        };
    }
}

/// What a tool does to the world, by its annotations.
fn nature(tool: &Tool) -> String {
    let hints = tool.annotations.clone().unwrap_or_default();
    if hints.read_only_hint == Some(true) {
        return "It only reads.".to_owned();
    }
    let harm =
        if hints.destructive_hint == Some(false) { "" } else { ", and may destroy something" };
    let again = if hints.idempotent_hint == Some(true) {
        " Calling it again with the same arguments changes nothing more."
    } else {
        ""
    };
    format!("It changes something{harm}.{again}")
}

/// The rows of a tool's arguments; nothing if it has none.
fn arguments(input: &JsonObject, shapes: &mut Shapes) -> Option<String> {
    let properties = fields(input);
    let required: Vec<&str> = input
        .get("required")
        .and_then(Value::as_array)
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let mut table = String::new();
    for (name, field) in &properties {
        let kind = shapes.kind(field, input, false);
        let default = if required.contains(&name.as_str()) {
            "required".to_owned()
        } else {
            schema::default(field)
        };
        let (range, meaning) = (schema::range(field), schema::meaning(field, input));
        writeln!(table, "| `{name}` | {kind} | {default} | {range} | {meaning} |").ok();
    }
    (!properties.is_empty()).then_some(table)
}

fn results(output: &JsonObject, shapes: &mut Shapes) -> String {
    let mut table = "| result | type | meaning |\n|---|---|---|\n".to_owned();
    table.push_str(&rows(output, output, shapes));
    table
}

/// The rows of the fields of `object`, whose references lie in `root`.
fn rows(object: &JsonObject, root: &JsonObject, shapes: &mut Shapes) -> String {
    let mut rows = String::new();
    for (name, field) in fields(object) {
        let (kind, meaning) = (shapes.kind(&field, root, true), schema::meaning(&field, root));
        writeln!(rows, "| `{name}` | {kind} | {meaning} |").ok();
    }
    rows
}

fn fields(object: &JsonObject) -> BTreeMap<String, Value> {
    let fields = object.get("properties").and_then(Value::as_object);
    fields.into_iter().flatten().map(|(name, field)| (name.clone(), field.clone())).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_page_on_tools_says_what_the_tools_say() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let written = page(&fs::read_to_string(docs.join("answers.md")).unwrap());
        let path = docs.join("tools.md");
        if std::env::var_os("SIMWARD_UPDATE_DOCS").is_some() {
            fs::write(&path, &written).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        let differs = written.lines().zip(there.lines()).find(|(new, old)| new != old);
        assert!(
            written == there,
            "docs/tools.md is not what the tools say; SIMWARD_UPDATE_DOCS=1 writes it anew. The \
             first difference: {differs:?}"
        );
    }

    #[test]
    fn what_is_told_of_tools_by_hand_is_of_tools_that_there_are() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let answers = fs::read_to_string(docs.join("answers.md")).unwrap();
        let told = answers.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
        for name in told {
            let known = FAMILIES.iter().any(|family| family.documented().has_route(name));
            assert!(known, "docs/answers.md tells of `{name}`, which is no tool");
        }
    }
}
