//! One line a stack, and the flame graph that is drawn of them.

use std::fmt::Write as _;

use inferno::flamegraph::{Options, from_lines};

use super::{functions, thread_name};
use crate::profile::{Profile, Unit};

/// One line a stack: the thread and the functions, the outermost first, between semicolons, and
/// how often it was seen.
pub fn folded(profile: &Profile) -> String {
    let mut text = String::new();
    for stack in &profile.stacks {
        text.push_str(&plain(thread_name(profile, stack)));
        for function in functions(profile, stack) {
            text.push(';');
            text.push_str(&plain(&function.name));
        }
        // Writing to a string does not fail.
        writeln!(text, " {}", stack.samples).ok();
    }
    text
}

/// A flame graph: an SVG that can be searched and zoomed into, and needs nothing from outside.
pub fn flamegraph(profile: &Profile, title: &str) -> Result<Vec<u8>, String> {
    if profile.samples == 0 {
        return Err("there are no samples".to_owned());
    }
    let folded = folded(profile);
    let mut options = Options::default();
    title.clone_into(&mut options.title);
    let unit = match profile.unit {
        Unit::Samples => "samples",
        Unit::Bytes => "bytes",
    };
    unit.clone_into(&mut options.count_name);
    let mut svg = Vec::new();
    from_lines(&mut options, folded.lines(), &mut svg).map_err(|error| error.to_string())?;
    Ok(svg)
}

/// Names without what means something in a line: they are others' words.
fn plain(name: &str) -> String {
    let one = |char: char| match char {
        ';' => ',',
        char if char.is_control() => '?',
        char => char,
    };
    if name.is_empty() { "[unknown]".to_owned() } else { name.chars().map(one).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::example;

    #[test]
    fn every_stack_is_a_line_that_no_name_can_break() {
        let text = folded(&example());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[2], "sim;main;step;step;solve, quickly 60");
    }

    #[test]
    fn a_flame_graph_names_functions_and_shares() {
        let svg = String::from_utf8(flamegraph(&example(), "a <title>").unwrap()).unwrap();
        assert!(svg.contains("solve, quickly (60 samples, 60.00%)"), "{svg}");
        assert!(svg.contains("a &lt;title&gt;"));
        flamegraph(&Profile::default(), "").unwrap_err();
    }
}
