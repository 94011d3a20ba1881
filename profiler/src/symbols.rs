//! Names of functions, by where they are in their files.

use std::collections::{BTreeMap, HashMap};

use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Input, Symbolized, Symbolizer};

use crate::modules::{Modules, Place};
use crate::profile::{Function, Functions, Stack};

/// Stacks by thread, the innermost place first, and how often each was seen: by name.
pub(crate) fn told(
    modules: &Modules,
    stacks: BTreeMap<(u32, Vec<Place>), u64>,
) -> (Vec<Function>, Vec<Stack>) {
    let places = stacks.keys().flat_map(|(_, frames)| frames.iter().copied());
    let (numbers, mut functions) = name(modules, places);
    let mut by_functions: BTreeMap<(u32, Vec<u32>), u64> = BTreeMap::new();
    for ((thread, frames), samples) in stacks {
        let frames = frames.iter().rev().filter_map(|place| numbers.get(place)).copied();
        // Two places in one function are one frame.
        let seen = by_functions.entry((thread, frames.collect())).or_default();
        *seen = seen.saturating_add(samples);
    }
    let stack = |((thread, frames), samples)| Stack { thread, frames, samples };
    let mut stacks: Vec<Stack> = by_functions.into_iter().map(stack).collect();
    let nameless = u32::try_from(functions.len()).unwrap_or(u32::MAX);
    if stacks.iter().any(|stack| stack.frames.is_empty()) {
        functions.push(Function { name: "[others]".to_owned(), module: String::new() });
        let merged = stacks.iter_mut().filter(|stack| stack.frames.is_empty());
        merged.for_each(|stack| stack.frames.push(nameless));
    }
    (functions, stacks)
}

/// Names every place, and tells which function of the list each is.
fn name(
    modules: &Modules,
    places: impl IntoIterator<Item = Place>,
) -> (HashMap<Place, u32>, Vec<Function>) {
    let mut by_module: BTreeMap<Option<u32>, Vec<Place>> = BTreeMap::new();
    for place in places {
        let module = match place {
            Place::In(module, _) => Some(module),
            Place::Nowhere(_) => None,
        };
        by_module.entry(module).or_default().push(place);
    }
    let symbolizer = Symbolizer::new();
    let mut functions = Functions::default();
    let mut numbers = HashMap::new();
    for (module, mut places) in by_module {
        places.sort_unstable();
        places.dedup();
        let found = module.and_then(|module| modules.get(module));
        let offsets: Vec<u64> = places.iter().map(|place| offset(*place)).collect();
        let names = found.map(|module| names(&symbolizer, module.path().as_deref(), &offsets));
        let module_name = found.map_or("[unknown]", |module| &module.name);
        for (index, place) in places.into_iter().enumerate() {
            let named = names.as_ref().and_then(|names| names.get(index)).cloned().flatten();
            let name = named.unwrap_or_else(|| match place {
                Place::In(_, offset) => format!("{module_name}+{offset:#x}"),
                // Code that was made in memory has an address of its own in each process.
                Place::Nowhere(_) => "[unknown]".to_owned(),
            });
            let function = Function { name, module: module_name.to_owned() };
            numbers.insert(place, functions.number(function));
        }
    }
    (numbers, functions.into_list())
}

fn offset(place: Place) -> u64 {
    match place {
        Place::In(_, offset) | Place::Nowhere(offset) => offset,
    }
}

fn names(
    symbolizer: &Symbolizer,
    path: Option<&std::path::Path>,
    offsets: &[u64],
) -> Vec<Option<String>> {
    let Some(path) = path else { return Vec::new() };
    let mut elf = Elf::new(path);
    // The names in the file's table are enough, and cost no debug information to be read.
    elf.debug_syms = false;
    let source = Source::Elf(elf);
    let Ok(found) = symbolizer.symbolize(&source, Input::VirtOffset(offsets)) else {
        return Vec::new();
    };
    let name = |symbol: Symbolized<'_>| match symbol {
        Symbolized::Sym(symbol) => Some(symbol.name.into_owned()),
        Symbolized::Unknown(_) => None,
    };
    found.into_iter().map(name).collect()
}
