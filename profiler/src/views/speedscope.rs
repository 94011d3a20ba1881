//! The form of speedscope.app: one profile for each thread.

use serde_json::{Value, json};

use crate::profile::{Profile, Unit};

/// The profile as speedscope's file format has it.
#[expect(clippy::cast_precision_loss, reason = "seconds are floating point")]
pub fn speedscope(profile: &Profile, title: &str) -> Value {
    let frames: Vec<_> = profile
        .functions
        .iter()
        .map(|function| json!({ "name": function.name, "file": function.module }))
        .collect();
    // `frequency_hz` is 0 of bytes.
    let weight = |samples: u64| samples as f64 / profile.frequency_hz.max(1) as f64;
    let unit = match profile.unit {
        Unit::Samples => "seconds",
        Unit::Bytes => "bytes",
    };
    let one = |(number, thread): (usize, &crate::profile::Thread)| {
        let own = || profile.stacks.iter().filter(move |stack| stack.thread as usize == number);
        let samples: Vec<&[u32]> = own().map(|stack| stack.frames.as_slice()).collect();
        let weights: Vec<f64> = own().map(|stack| weight(stack.samples)).collect();
        json!({
            "type": "sampled",
            "name": format!("{} ({})", thread.name, thread.tid),
            "unit": unit,
            "startValue": 0,
            "endValue": weight(own().map(|stack| stack.samples).sum()),
            "samples": samples,
            "weights": weights,
        })
    };
    json!({
        "$schema": "https://www.speedscope.app/file-format-schema.json",
        "name": title,
        "exporter": concat!("simward ", env!("CARGO_PKG_VERSION")),
        "shared": { "frames": frames },
        "profiles": profile.threads.iter().enumerate().map(one).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::tests::example;

    #[test]
    fn each_thread_has_its_stacks_and_as_many_weights() {
        let value = speedscope(&example(), "t");
        let sim = &value["profiles"][0];
        assert_eq!(sim["samples"], json!([[0, 1], [0, 1, 1], [0, 1, 1, 2]]));
        assert_eq!(sim["weights"], json!([0.1, 0.2, 0.6]));
        assert_eq!(sim["endValue"], json!(0.9));
        assert_eq!(value["shared"]["frames"][3]["name"], "wait");
        assert_eq!(value["profiles"].as_array().unwrap().len(), 2);
    }
}
