//! The viewer's page, as it was built into this program.
//!
//! `scripts/build-web` makes it of `web/`. Where that was not done, a page of our own says how to
//! get it; everything else of the viewer works all the same.

use super::http::Answer;

/// Whether the page is there.
#[cfg(has_viewer)]
pub(crate) const HAS_PAGE: bool = true;
#[cfg(not(has_viewer))]
pub(crate) const HAS_PAGE: bool = false;

#[cfg(has_viewer)]
const PAGE: &[u8] = include_bytes!(concat!(env!("SIMWARD_WEB"), "/index.html"));
#[cfg(not(has_viewer))]
const PAGE: &[u8] = include_bytes!("site/unbuilt.html");

/// What the page is made of: where, of what kind, and what.
#[cfg(has_viewer)]
const FILES: &[(&str, &str, &[u8])] = &[
    (
        "/viewer.js",
        "text/javascript; charset=utf-8",
        include_bytes!(concat!(env!("SIMWARD_WEB"), "/viewer.js")),
    ),
    (
        "/viewer.css",
        "text/css; charset=utf-8",
        include_bytes!(concat!(env!("SIMWARD_WEB"), "/viewer.css")),
    ),
];
#[cfg(not(has_viewer))]
const FILES: &[(&str, &str, &[u8])] = &[];

/// The page.
pub(super) fn page() -> Answer {
    Answer { status: "200 OK", kind: "text/html; charset=utf-8", body: PAGE.into() }
}

/// A file that the page is made of.
pub(super) fn file(path: &str) -> Option<Answer> {
    let (_, kind, body) = FILES.iter().find(|(known, _, _)| *known == path)?;
    Some(Answer { status: "200 OK", kind, body: (*body).into() })
}
