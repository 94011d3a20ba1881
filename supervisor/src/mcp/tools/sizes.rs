//! What the list of tools costs every client, in tokens.

use std::fmt::Write as _;

use rmcp::model::{ListToolsResult, Tool};
use tiktoken_rs::CoreBPE;

use super::super::toolsets::Toolset;
use super::{FAMILIES, of};

/// What all tools together may cost.
const ALL_TOKENS_MAX: usize = 25_000;

/// What the simulation toolset may cost, with the tools that are always there.
const SIMULATION_TOKENS_MAX: usize = 15_000;

/// The tokens of a list, as it is sent.
fn tokens(vocabulary: &CoreBPE, tools: Vec<Tool>) -> usize {
    let list = ListToolsResult { tools, ..Default::default() };
    let text = serde_json::to_string(&list).expect("it is our own list");
    vocabulary.encode_ordinary(&text).len()
}

#[test]
fn the_list_of_tools_stays_within_its_budget() {
    let vocabulary = tiktoken_rs::o200k_base().expect("it is our own list");
    let size = |toolsets: &[Toolset]| tokens(&vocabulary, of(toolsets).list_all());
    let (all, simulation) = (size(&Toolset::ALL), size(&[Toolset::Simulation]));
    let count = of(&Toolset::ALL).list_all().len();
    let mut table = format!("{all:>6} in all, {} for each of {count} tools\n", all / count);
    for toolset in Toolset::ALL {
        let size = size(&[toolset]) - size(&[]);
        writeln!(table, "{size:>6} toolset {toolset:?}").expect("it is our own list");
    }
    writeln!(table, "{:>6} always there\n", size(&[])).expect("it is our own list");
    for family in FAMILIES {
        writeln!(table, "{}", family.title).expect("it is our own list");
        for tool in of(&Toolset::ALL).list_all() {
            if family.documented().has_route(&tool.name) {
                let parts = [
                    tool.description.clone().unwrap_or_default().into_owned(),
                    serde_json::to_string(&tool.input_schema).expect("it is our own list"),
                    serde_json::to_string(&tool.output_schema).expect("it is our own list"),
                ];
                let [text, input, output] =
                    parts.map(|part| vocabulary.encode_ordinary(&part).len());
                let name = tool.name.clone();
                let whole = tokens(&vocabulary, vec![tool]);
                writeln!(table, "{whole:>6} {name} ({text} text, {input} input, {output} output)")
                    .expect("it is our own list");
            }
        }
    }
    insta::assert_snapshot!(table);
    assert!(all <= ALL_TOKENS_MAX, "all tools take {all} tokens\n{table}");
    assert!(simulation <= SIMULATION_TOKENS_MAX, "simulation takes {simulation}\n{table}");
}
