//! How long a model takes to be there: compiled before, and compiled now.

use std::path::Path;
use std::time::Instant;

use serde_json::json;
use simward_tests::models;
use tempfile::TempDir;

use crate::Bench;
use crate::bare::Bare;
use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;

const TURNS: u32 = 20;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let root = TempDir::new().unwrap();
    copy(&models::root().join("third_party/models/ur5e"), &root.path().join("ur5e"));
    let entry = root.path().join("ur5e/ur5e.xml");
    let roots = format!("models.roots=[\"{}\"]", root.path().display());
    let server = Server::start_with(&bench.programs, &[&roots]);
    let room = Room::open(&mut server.client());
    let mut wire = server.wire();
    let load = room.request("load_model", json!({ "model_path": "ur5e/ur5e.xml" }));
    let unload = room.request("unload_model", json!({}));
    let source = std::fs::read_to_string(&entry).unwrap();
    let (mut fresh, mut cached, mut bares) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut took = |load: &[u8]| {
        let begun = Instant::now();
        wire.call(load).expect_success();
        let took = begun.elapsed();
        wire.call(&unload).expect_success();
        took
    };
    for turn in 0..bench.options.times(TURNS) {
        // Another model than ever before, which compiles to the same.
        std::fs::write(&entry, format!("{source}<!-- {turn} -->\n")).unwrap();
        fresh.add_millis(took(&load));
        cached.add_millis(took(&load));
        // In a new process, too, whose memory nobody has touched.
        bares.add(1000.0 * Bare::compile(&bench.programs, &entry).turn("wall_secs"));
    }
    let (fresh, bare) = (fresh.median(), bares.median());
    let what = "load_model of a ur5e that was compiled before, p50";
    report.add(Row::new(16, what, cached.median(), "ms").at_most(60.0));
    let what =
        "load_model of a ur5e from its files, p50 (ratio: to compiling alone in a new process)";
    report.add(Row::new(16, what, fresh, "ms").ratio(fresh / bare).ratio_at_most(1.3));
    report.add(Row::new(16, "compiling a ur5e alone in a new process, p50", bare, "ms"));
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, goal) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &goal);
        } else {
            std::fs::copy(&path, &goal).unwrap();
        }
    }
}
