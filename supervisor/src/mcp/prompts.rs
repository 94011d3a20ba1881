//! Prompts: ways to go about a task, which a user picks and a model follows.
//!
//! A prompt consists of steps, and a step names the tools that it needs: where an operator has left
//! one of them out, the step is left out too, so that no model is sent after what is not there.

mod texts;

use std::fmt::Write as _;

use rmcp::ErrorData;
use rmcp::model::{
    GetPromptRequestParams, GetPromptResult, JsonObject, Prompt, PromptArgument, PromptMessage,
    Role,
};

use self::texts::PROMPTS;
use super::McpServer;

/// A way to go about a task.
struct Template {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    arguments: &'static [Argument],
    /// What is to be reached. `{name}` stands for an argument, here and in steps.
    aim: &'static str,
    steps: &'static [Step],
}

/// What a user may say with a prompt.
struct Argument {
    name: &'static str,
    description: &'static str,
    /// What is meant where nothing is said; an argument without that must be given.
    otherwise: Option<&'static str>,
}

/// One step of a prompt.
struct Step {
    /// The tools that it names.
    needs: &'static [&'static str],
    text: &'static str,
}

/// The longest argument, in characters: a name, or a sentence.
const ARGUMENT_CHARS_MAX: usize = 1000;

/// The longest part of an unknown name that is told back.
const TOLD_CHARS_MAX: usize = 80;

impl McpServer {
    /// Every prompt.
    pub(super) fn prompts() -> Vec<Prompt> {
        let arguments = |template: &Template| {
            let arguments = template.arguments.iter().map(|argument| {
                PromptArgument::new(argument.name)
                    .with_description(argument.description)
                    .with_required(argument.otherwise.is_none())
            });
            arguments.collect()
        };
        PROMPTS
            .iter()
            .map(|template| {
                let arguments = Some(arguments(template));
                Prompt::new(template.name, Some(template.description), arguments)
                    .with_title(template.title)
            })
            .collect()
    }

    /// Whether a prompt has an argument of that name.
    pub(super) fn prompt_has(prompt: &str, argument: &str) -> bool {
        let template = PROMPTS.iter().find(|template| template.name == prompt);
        template.is_some_and(|it| it.arguments.iter().any(|it| it.name == argument))
    }

    /// A prompt, with what the user said in its places.
    pub(super) fn prompt(
        &self,
        request: &GetPromptRequestParams,
    ) -> Result<GetPromptResult, ErrorData> {
        let template = PROMPTS.iter().find(|template| template.name == request.name);
        let template = template.ok_or_else(|| {
            let name: String = request.name.chars().take(TOLD_CHARS_MAX).collect();
            ErrorData::invalid_params(format!("there is no prompt `{name}`"), None)
        })?;
        let said = template.said(request.arguments.as_ref())?;
        let text = template.text(&said, |tool| self.inner.router.has_route(tool));
        let message = PromptMessage::new_text(Role::User, text);
        Ok(GetPromptResult::new(vec![message]).with_description(template.description))
    }
}

impl Template {
    /// What stands for each argument.
    fn said(&self, given: Option<&JsonObject>) -> Result<Vec<(&'static str, String)>, ErrorData> {
        let refuse = |message: String| ErrorData::invalid_params(message, None);
        let known = |name: &String| self.arguments.iter().any(|argument| argument.name == name);
        if let Some(name) = given.into_iter().flat_map(JsonObject::keys).find(|name| !known(name)) {
            let name: String = name.chars().take(TOLD_CHARS_MAX).collect();
            return Err(refuse(format!("the prompt `{}` has no argument `{name}`", self.name)));
        }
        let said = self.arguments.iter().map(|argument| {
            let name = argument.name;
            let value = match given.and_then(|given| given.get(name)) {
                Some(value) => Some(
                    value
                        .as_str()
                        .ok_or_else(|| refuse(format!("the argument `{name}` must be a text")))?,
                ),
                None => None,
            };
            let value = value.filter(|value| !value.trim().is_empty()).or(argument.otherwise);
            let value = value.ok_or_else(|| {
                refuse(format!("the prompt `{}` needs the argument `{name}`", self.name))
            })?;
            if ARGUMENT_CHARS_MAX < value.chars().count() {
                let message =
                    format!("the argument `{name}` has more than {ARGUMENT_CHARS_MAX} characters");
                return Err(refuse(message));
            }
            Ok((name, value.to_owned()))
        });
        said.collect()
    }

    /// The prompt's text, out of the steps whose tools are there.
    fn text(&self, said: &[(&str, String)], is_there: impl Fn(&str) -> bool) -> String {
        let mut text = fill(self.aim, said);
        text.push('\n');
        let steps = self.steps.iter().filter(|step| step.needs.iter().all(|tool| is_there(tool)));
        for (index, step) in steps.enumerate() {
            write!(text, "\n{}. {}", index + 1, fill(step.text, said)).ok();
        }
        text
    }
}

/// Puts what was said into its places, once: what it says is not looked into.
fn fill(text: &str, said: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let place = after.split_once('}').and_then(|(name, behind)| {
            let (_, value) = said.iter().find(|(known, _)| *known == name)?;
            Some((value, behind))
        });
        if let Some((value, behind)) = place {
            filled.push_str(value);
            rest = behind;
        } else {
            filled.push('{');
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mcp::toolsets::Toolset;
    use crate::mcp::{instructions, tools};

    /// Tools that texts may name before they are there. Whoever adds one may remove it here.
    const TO_COME: &[&str] = &[
        "list_menagerie_models",
        "create_menagerie_scene",
        "modify_model",
        "edit_model",
        "export_model_xml",
        "get_snapshot",
        "restore_snapshot",
        "get_contacts",
        "get_sensor_data",
        "get_body_states",
        "get_actuator_info",
        "get_energy",
        "get_forces",
        "compute_jacobian",
        "linearize_dynamics",
        "solve_ik",
        "plan_trajectory",
        "execute_trajectory",
        "run_sweep",
        "rollout",
        "diagnose_instability",
        "compare_recordings",
        "start_recording",
        "stop_recording",
        "export_recording",
        "plot_recording",
        "render_frame",
        "record_video",
        "measure_distance",
        "scene_map",
        "batch_step",
        "run_parallel",
        "get_viewer_url",
        "apply_force",
        "get_control_state",
        "cast_rays",
    ];

    fn tools() -> BTreeSet<String> {
        let there = tools::of(&Toolset::ALL).list_all();
        let there = there.into_iter().map(|tool| tool.name.into_owned());
        there.chain(TO_COME.iter().map(|name| (*name).to_owned())).collect()
    }

    /// The tools that a text names.
    fn named(text: &str) -> BTreeSet<String> {
        let tools = tools();
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.filter(|word| tools.contains(*word)).map(str::to_owned).collect()
    }

    #[test]
    fn every_step_needs_the_tools_that_it_names_and_no_others() {
        for template in PROMPTS {
            assert!(named(template.aim).is_empty(), "{}: tools belong in steps", template.name);
            for step in template.steps {
                let needs: BTreeSet<_> = step.needs.iter().map(|name| (*name).to_owned()).collect();
                assert_eq!(named(step.text), needs, "{}: {}", template.name, step.text);
            }
        }
        for paragraph in instructions::PARAGRAPHS {
            let needs: BTreeSet<_> =
                paragraph.needs.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(named(paragraph.text), needs, "{}", paragraph.text);
        }
    }

    #[test]
    fn every_argument_has_its_place_and_every_place_its_argument() {
        for template in PROMPTS {
            let steps = template.steps.iter().map(|step| step.text);
            let text: String = std::iter::once(template.aim).chain(steps).collect();
            for argument in template.arguments {
                let place = format!("{{{}}}", argument.name);
                assert!(text.contains(&place), "{}: {place}", template.name);
            }
            let said: Vec<_> =
                template.arguments.iter().map(|it| (it.name, "said".to_owned())).collect();
            let filled = template.text(&said, |_| true);
            let open = filled.contains("{session_id}") || filled.contains("{model_id}");
            assert!(!open, "{filled}");
        }
    }

    #[test]
    fn what_a_user_says_is_put_in_and_not_looked_into() {
        let said = [("one", "{two}".to_owned()), ("two", "2".to_owned())];
        assert_eq!(
            fill("{one}, {two}, {three}, {\"a\": 1}", &said),
            "{two}, 2, {three}, {\"a\": 1}"
        );
    }

    #[test]
    fn a_step_whose_tool_is_not_there_is_left_out() {
        let template = &PROMPTS[0];
        let said = template.said(None).unwrap();
        let whole = template.text(&said, |_| true);
        let bare = template.text(&said, |_| false);
        assert!(whole.contains("step_simulation") && !bare.contains("step_simulation"), "{bare}");
    }
}
