//! The text of a model as the engine writes it: where something goes into it, and which files it
//! names.
//!
//! The engine's own documents are regular, so that a place in them is found by the tags around it.
//! What a client adds is checked first, so that it cannot end the element that it goes into.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, Writer};
use simward_protocol::editing::FRAGMENT_BYTES_MAX;
use simward_protocol::fault::{Fault, cut};

use super::build::invalid;
use super::scan::{self, FILE_ATTRIBUTES};

/// What a body can be given.
const PARTS: [&str; 13] = [
    "body",
    "camera",
    "composite",
    "flexcomp",
    "frame",
    "freejoint",
    "geom",
    "inertial",
    "joint",
    "light",
    "plugin",
    "replicate",
    "site",
];

/// What a model can be given.
const SECTIONS: [&str; 10] = [
    "actuator",
    "asset",
    "contact",
    "custom",
    "default",
    "deformable",
    "equality",
    "keyframe",
    "sensor",
    "tendon",
];

/// How deep the elements of a fragment may be nested.
const DEPTH_MAX: usize = 100;

/// Where a fragment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Into a body.
    Part,
    /// Into the model.
    Section,
    /// Into the model, and made for it as it is.
    Keyframes,
}

/// Looks at a piece of MJCF that a client wants to add.
pub(super) fn check(field: &str, xml: &str) -> Result<Kind, Fault> {
    let wrong = |problem: String| Fault::Invalid { field: field.to_owned(), problem: cut(problem) };
    if FRAGMENT_BYTES_MAX < xml.len() {
        let (value, max) = (xml.len() as u64, FRAGMENT_BYTES_MAX as u64);
        return Err(Fault::LimitExceeded { what: "bytes of an added piece".into(), value, max });
    }
    // A piece has no files of its own, and nothing in it that two parsers could read differently.
    scan::check_alone(&format!("<mujoco>{xml}</mujoco>"))
        .map_err(|fault| wrong(fault.to_string()))?;
    let mut reader = Reader::from_str(xml);
    let (mut depth, mut kinds) = (0, Vec::new());
    loop {
        let event = reader.read_event().map_err(|error| wrong(error.to_string()))?;
        let is_element = matches!(event, Event::Start(_) | Event::Empty(_));
        if is_element && depth == 0 {
            kinds.push(kind_of(&event).map_err(wrong)?);
        }
        match event {
            Event::Start(_) if depth < DEPTH_MAX => depth += 1,
            Event::Start(_) => return Err(wrong("its elements are nested too deep".into())),
            Event::End(_) => depth -= 1,
            Event::Empty(_) | Event::Comment(_) => (),
            Event::Text(text) if text.iter().all(u8::is_ascii_whitespace) => (),
            Event::Eof => break,
            _ => return Err(wrong("it is to consist of elements and nothing else".into())),
        }
    }
    match (depth, kinds.first()) {
        (0, Some(first)) if kinds.iter().all(|kind| kind == first) => Ok(*first),
        (0, Some(_)) => Err(wrong("parts of a body, keyframes and other sections go apart".into())),
        (0, None) => Err(wrong("it has no element".into())),
        _ => Err(wrong("an element in it does not end".into())),
    }
}

fn kind_of(event: &Event<'_>) -> Result<Kind, String> {
    let (Event::Start(element) | Event::Empty(element)) = event else {
        return Err("it is no element".to_owned());
    };
    let tag = String::from_utf8_lossy(element.name().as_ref()).into_owned();
    if PARTS.contains(&tag.as_str()) {
        Ok(Kind::Part)
    } else if tag == "keyframe" {
        Ok(Kind::Keyframes)
    } else if SECTIONS.contains(&tag.as_str()) {
        Ok(Kind::Section)
    } else {
        Err(format!(
            "`<{tag}>` can be added neither to a body ({}) nor to the model ({})",
            PARTS.join(", "),
            SECTIONS.join(", ")
        ))
    }
}

/// Adds sections to a document.
pub(super) fn append(document: &str, sections: &str) -> Result<String, Fault> {
    let whole = element(document, |_, tag, _| tag == b"mujoco")?;
    Ok(whole.ok_or_else(|| unread("it has no root"))?.put(document, "", sections))
}

/// Adds parts to the world, or to the body of that name; gives nothing if there is no such body.
pub(super) fn insert(
    document: &str,
    body: Option<&str>,
    parts: &str,
) -> Result<Option<String>, Fault> {
    let found = match body {
        None => world(document)?,
        Some(wanted) => element(document, |in_world, tag, name| {
            in_world && tag == b"body" && name == Some(wanted)
        })?,
    };
    Ok(found.map(|found| found.put(document, "", parts)))
}

/// Moves and turns everything in the world.
pub(super) fn moved(
    document: &str,
    position: [f64; 3],
    quaternion: [f64; 4],
) -> Result<String, Fault> {
    let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
    let frame = format!("<frame pos=\"{}\" quat=\"{}\">", list(&position), list(&quaternion));
    let world = world(document)?.ok_or_else(|| unread("it has no world"))?;
    Ok(world.put(document, &frame, "</frame>"))
}

fn world(document: &str) -> Result<Option<Place>, Fault> {
    element(document, |_, tag, _| tag == b"worldbody")
}

/// An element of a document.
struct Place {
    tag: String,
    /// Behind the `>` of its start.
    inside: usize,
    /// Where its end begins; nothing if it has none.
    end: Option<usize>,
}

impl Place {
    fn put(&self, document: &str, first: &str, last: &str) -> String {
        let (start, rest) = document.split_at(self.inside);
        if let Some(end) = self.end {
            let (inside, rest) = rest.split_at(end - self.inside);
            [start, first, inside, last, rest].concat()
        } else {
            let (start, tag) = (start.trim_end_matches("/>"), &self.tag);
            format!("{start}>{first}{last}</{tag}>{rest}")
        }
    }
}

/// Finds the first element that is wanted, by whether it is in the world, its tag and its name.
fn element(
    document: &str,
    is_wanted: impl Fn(bool, &[u8], Option<&str>) -> bool,
) -> Result<Option<Place>, Fault> {
    let mut reader = Reader::from_str(document);
    // The tags around, and the element that was found with its depth.
    let (mut tags, mut found) = (Vec::new(), None::<(Place, usize)>);
    loop {
        let before = position(&reader);
        let event = reader.read_event().map_err(|error| unread(&error))?;
        let is_empty = matches!(event, Event::Empty(_));
        match &event {
            Event::Start(start) | Event::Empty(start) if found.is_none() => {
                let name = name_of(start)?;
                let in_world = tags.iter().any(|tag| tag == b"worldbody");
                if is_wanted(in_world, start.name().as_ref(), name.as_deref()) {
                    let tag = String::from_utf8_lossy(start.name().as_ref()).into_owned();
                    let place = Place { tag, inside: position(&reader), end: None };
                    if is_empty {
                        return Ok(Some(place));
                    }
                    found = Some((place, tags.len()));
                }
            }
            _ => (),
        }
        match event {
            Event::Start(start) => tags.push(start.name().as_ref().to_vec()),
            Event::End(_) => {
                tags.pop();
                match found.take() {
                    Some((place, depth)) if depth == tags.len() => {
                        return Ok(Some(Place { end: Some(before), ..place }));
                    }
                    other => found = other,
                }
            }
            Event::Eof => return Ok(None),
            _ => (),
        }
    }
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

fn name_of(start: &BytesStart<'_>) -> Result<Option<String>, Fault> {
    let name = start.try_get_attribute("name").map_err(|error| unread(&error))?;
    let text = name.map(|name| name.unescape_value().map(std::borrow::Cow::into_owned));
    text.transpose().map_err(|error| unread(&error))
}

/// Gives every path in a document to `place`, which may put another one there.
pub(super) fn map_files(
    document: &str,
    mut place: impl FnMut(&[u8], &[u8], &str) -> Result<Option<String>, Fault>,
) -> Result<String, Fault> {
    let mut reader = Reader::from_str(document);
    let mut mapped = String::with_capacity(document.len());
    loop {
        let before = position(&reader);
        let event = reader.read_event().map_err(|error| unread(&error))?;
        let other = match &event {
            Event::Eof => return Ok(mapped),
            Event::Start(start) | Event::Empty(start) => with_files(start, &mut place)?,
            _ => None,
        };
        let Some(other) = other else {
            let text = document.get(before..position(&reader));
            mapped.push_str(text.unwrap_or_default());
            continue;
        };
        let other = match event {
            Event::Empty(_) => Event::Empty(other),
            _ => Event::Start(other),
        };
        let mut writer = Writer::new(Vec::new());
        writer.write_event(other).map_err(|error| unread(&error))?;
        mapped.push_str(&String::from_utf8_lossy(&writer.into_inner()));
    }
}

/// The element with other paths, if one of them is another one.
fn with_files(
    start: &BytesStart<'_>,
    place: &mut impl FnMut(&[u8], &[u8], &str) -> Result<Option<String>, Fault>,
) -> Result<Option<BytesStart<'static>>, Fault> {
    let tag = start.name();
    let mut other = BytesStart::new(String::from_utf8_lossy(tag.as_ref()).into_owned());
    let mut is_other = false;
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| unread(&error))?;
        let value = attribute.unescape_value().map_err(|error| unread(&error))?;
        let key = attribute.key.as_ref();
        let put = if FILE_ATTRIBUTES.contains(&key) && !value.is_empty() {
            place(tag.as_ref(), key, &value)?
        } else {
            None
        };
        is_other |= put.is_some();
        let value = put.as_deref().unwrap_or(&value);
        other.push_attribute((String::from_utf8_lossy(key).as_ref(), value));
    }
    Ok(is_other.then_some(other))
}

fn unread(error: &(impl std::fmt::Display + ?Sized)) -> Fault {
    invalid(format!("what the engine wrote could not be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<mujoco>\n<worldbody><geom size=\"1\"/><body name=\"a&amp;b\">\
        <body name=\"c\"/></body></worldbody>\n<sensor><framepos objname=\"c\"/></sensor></mujoco>";

    #[test]
    fn a_part_goes_into_its_body() {
        let put = insert(DOCUMENT, Some("a&b"), "<site/>").unwrap().unwrap();
        assert!(put.contains("<body name=\"c\"/><site/></body></worldbody>"), "{put}");
        let put = insert(DOCUMENT, Some("c"), "<site/>").unwrap().unwrap();
        assert!(put.contains("<body name=\"c\"><site/></body></body>"), "{put}");
        let put = insert(DOCUMENT, None, "<site/>").unwrap().unwrap();
        assert!(put.contains("</body><site/></worldbody>"), "{put}");
        let put = insert("<mujoco><worldbody/></mujoco>", None, "<site/>").unwrap().unwrap();
        assert_eq!(put, "<mujoco><worldbody><site/></worldbody></mujoco>");
        assert_eq!(insert(DOCUMENT, Some("none"), "<site/>").unwrap(), None);
    }

    #[test]
    fn a_section_goes_to_the_end_and_a_frame_around_everything() {
        let put = append(DOCUMENT, "<actuator/>").unwrap();
        assert!(put.ends_with("</sensor><actuator/></mujoco>"), "{put}");
        let put = moved(DOCUMENT, [0.0, 0.1, -2.0], [1.0, 0.0, 0.0, 0.0]).unwrap();
        let begin = "<worldbody><frame pos=\"0 0.1 -2\" quat=\"1 0 0 0\"><geom";
        assert!(put.contains(begin) && put.contains("</body></frame></worldbody>"), "{put}");
    }

    #[test]
    fn what_is_added_cannot_leave_its_place() {
        assert_eq!(check("xml", "<geom size='1'/> <!-- x --> <site/>"), Ok(Kind::Part));
        assert_eq!(check("xml", "<actuator><motor joint='j'/></actuator>"), Ok(Kind::Section));
        for wrong in [
            "",
            "size",
            "<geom/></body><body>",
            "<body><geom/></worldbody>",
            "<body>",
            "<worldbody/>",
            "<compiler meshdir='/'/>",
            "<include file='x.xml'/>",
            "<body><include file='/etc/passwd'/></body>",
            "<asset><mesh file='x.obj'/></asset>",
            "<geom/><actuator/>",
            "<!DOCTYPE x><geom/>",
            "<?xml version='1.0'?><geom/>",
            "<![CDATA[x]]><geom/>",
            "<geom/>\0",
        ] {
            assert!(check("xml", wrong).is_err(), "{wrong:?}");
        }
        let deep = format!("{}{}", "<body>".repeat(101), "</body>".repeat(101));
        check("xml", &deep).unwrap_err();
        check("xml", &"<geom/>".repeat(200_000)).unwrap_err();
    }

    #[test]
    fn paths_are_put_in_the_place_of_others() {
        let document = "<mujoco><asset><mesh name=\"a\" file=\"a&amp;.obj\"/><mesh file=\"b.obj\"/>\
            </asset></mujoco>";
        let mut seen = Vec::new();
        let mapped = map_files(document, |tag, key, path| {
            seen.push((tag.to_vec(), key.to_vec(), path.to_owned()));
            Ok((path == "a&.obj").then(|| "<c>.obj".to_owned()))
        });
        let expected = "<mujoco><asset><mesh name=\"a\" file=\"&lt;c&gt;.obj\"/>\
            <mesh file=\"b.obj\"/></asset></mujoco>";
        assert_eq!(mapped.unwrap(), expected);
        assert_eq!(seen.len(), 2);
        assert_eq!(seen[0], (b"mesh".to_vec(), b"file".to_vec(), "a&.obj".to_owned()));
    }
}
