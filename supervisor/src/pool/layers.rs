//! Isolation layers that a process must have in force.

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It simulates.
    Simulate,
    /// It compiles a model.
    Compile,
    /// It draws.
    Render,
}

/// What a process lacks of the layers that are demanded: of those that its kind can have, or of what
/// stands for them there.
pub(crate) fn lacking(role: Role, layers: &[String], required: &[String]) -> Vec<String> {
    let meant = |layer: &'_ String| match (role, layer.as_str()) {
        // No files at all is less than a few.
        (Role::Simulate | Role::Compile, "few_files") => Some("no_files"),
        (Role::Render, "no_files") => Some("few_files"),
        (Role::Render, "empty_root" | "no_writable_code") => None,
        // Who lives for long has no end of processor time.
        (Role::Simulate | Role::Render, "cpu_limit") => None,
        _ => Some(""),
    };
    let meant = required.iter().filter_map(|layer| match meant(layer)? {
        "" => Some(layer.clone()),
        other => Some(other.to_owned()),
    });
    meant.filter(|layer| !layers.contains(layer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_renderer_must_have_what_it_can_have() {
        let required = names(&["no_files", "empty_root", "no_writable_code", "own_user"]);
        let lacks = |layers: &[&str]| lacking(Role::Render, &names(layers), &required);
        assert_eq!(lacks(&["few_files", "own_user"]), [""; 0]);
        assert_eq!(lacks(&["own_user"]), ["few_files"]);
    }

    #[test]
    fn a_simulation_has_no_files_at_all_and_no_end_of_processor_time() {
        let required = names(&["few_files", "cpu_limit", "walls_of_lead"]);
        let lacks = |role| lacking(role, &names(&["no_files"]), &required);
        assert_eq!(lacks(Role::Simulate), ["walls_of_lead"]);
        assert_eq!(lacks(Role::Compile), ["cpu_limit", "walls_of_lead"]);
    }
}
