//! What a client finds beside the tools of a simulation: runs, toolsets, resources, prompts.

mod prompts;
mod resources;
mod runs;
mod toolsets;
