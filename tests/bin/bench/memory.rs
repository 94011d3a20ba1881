//! What idle processes hold in memory.

use crate::report::{Report, Row};
use crate::rooms::Room;
use crate::server::Server;
use crate::stats::Samples;
use crate::{Bench, process};

/// How many workers are alike.
const ALIKE: usize = 20;

/// How many sessions the supervisor has when it is looked at.
const SESSIONS: usize = 100;

pub(crate) fn measure(bench: &Bench, report: &mut Report) {
    let server = Server::start(&bench.programs);
    let mut client = server.client();
    let empty = process::memory(server.pid()).rss_mb;
    let mut rooms: Vec<_> = (0..ALIKE).map(|_| Room::open(&mut client)).collect();
    look(report, "idle worker, 20 alike", &rooms, (Some(10.0), Some(4.0)));
    for room in &rooms {
        room.load_humanoid(&mut client);
    }
    look(report, "worker with a humanoid, 20 alike", &rooms, (Some(14.0), None));
    while rooms.len() < SESSIONS {
        rooms.push(Room::open(&mut client));
    }
    let full = process::memory(server.pid()).rss_mb;
    report.add(Row::new(2, "supervisor with 100 sessions, RSS", full, "MB").at_most(40.0));
    report.add(Row::new(2, "supervisor without sessions, RSS", empty, "MB"));
}

/// Looks at the largest of these workers.
fn look(report: &mut Report, what: &str, rooms: &[Room], targets: (Option<f64>, Option<f64>)) {
    let (mut rss, mut pss) = (Samples::default(), Samples::default());
    for room in rooms {
        let memory = process::memory(room.pid);
        rss.add(memory.rss_mb);
        pss.add(memory.pss_mb.unwrap_or(f64::NAN));
    }
    let values = [("RSS", rss.max(), targets.0), ("PSS", pss.max(), targets.1)];
    for (name, value, target) in values {
        let row = Row::new(2, &format!("{what}, largest {name}"), value, "MB");
        report.add(if let Some(target) = target { row.at_most(target) } else { row });
    }
}
