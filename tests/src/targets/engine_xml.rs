//! XML as the engine reads it: a retelling of TinyXML-2, which forgives much.
//!
//! It finds at least every attribute that the engine finds: what only makes TinyXML-2 refuse a
//! document (ends that do not match, depth, declarations in the wrong place) is passed over.

/// An attribute of an element, its entities replaced.
pub(super) struct Attribute {
    pub(super) element: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// All attributes of a document; nothing if the engine refuses it.
pub(super) fn attributes(xml: &[u8]) -> Option<Vec<Attribute>> {
    let xml = xml.strip_prefix(b"\xef\xbb\xbf").unwrap_or(xml);
    let mut found = Vec::new();
    let mut rest = xml;
    loop {
        rest = skip_space(rest);
        if rest.is_empty() {
            return Some(found);
        }
        rest = if let Some(rest) = rest.strip_prefix(b"<?") {
            after(rest, b"?>")?.1
        } else if let Some(rest) = rest.strip_prefix(b"<!--") {
            after(rest, b"-->")?.1
        } else if let Some(rest) = rest.strip_prefix(b"<![CDATA[") {
            after(rest, b"]]>")?.1
        } else if let Some(rest) = rest.strip_prefix(b"<!") {
            after(rest, b">")?.1
        } else if let Some(rest) = rest.strip_prefix(b"<") {
            element(rest, &mut found)?
        } else {
            let text = rest.iter().position(|byte| *byte == b'<')?;
            &rest[text..]
        };
    }
}

/// Reads an element's begin, or its end: to the engine, both have attributes.
fn element<'a>(rest: &'a [u8], found: &mut Vec<Attribute>) -> Option<&'a [u8]> {
    let rest = skip_space(rest);
    let (name, mut rest) = take_name(rest.strip_prefix(b"/").unwrap_or(rest))?;
    let first = found.len();
    loop {
        rest = skip_space(rest);
        if let Some(rest) = rest.strip_prefix(b">").or_else(|| rest.strip_prefix(b"/>")) {
            return Some(rest);
        }
        let (key, value);
        (key, rest) = take_name(rest)?;
        rest = skip_space(skip_space(rest).strip_prefix(b"=")?);
        let quote = rest.first().filter(|byte| matches!(byte, b'\'' | b'"'))?;
        (value, rest) = after(&rest[1..], &[*quote])?;
        if found[first..].iter().any(|other| other.key == key) {
            return None;
        }
        found.push(Attribute { element: name.to_vec(), key: key.to_vec(), value: replaced(value) });
    }
}

fn take_name(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let is_start = |byte: u8| byte.is_ascii_alphabetic() || 128 <= byte || b":_".contains(&byte);
    text.first().filter(|byte| is_start(**byte))?;
    let is_name = |byte: u8| is_start(byte) || byte.is_ascii_digit() || b".-".contains(&byte);
    let end = text.iter().position(|byte| !is_name(*byte)).unwrap_or(text.len());
    Some(text.split_at(end))
}

/// What C calls space: two characters more than XML has.
fn skip_space(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let end = text.iter().position(|byte| !is_space(byte)).unwrap_or(text.len());
    &text[end..]
}

/// The text before the next `end`, and what follows it.
fn after<'a>(text: &'a [u8], end: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = text.windows(end.len()).position(|window| window == end)?;
    Some((&text[..at], &text[at + end.len()..]))
}

const ENTITIES: [(&[u8], u8); 5] =
    [(b"quot;", b'"'), (b"amp;", b'&'), (b"apos;", b'\''), (b"lt;", b'<'), (b"gt;", b'>')];

/// Replaces entities; what is none stays as it is.
fn replaced(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'&' {
            out.push(*byte);
        } else if let Some((entity, by)) = ENTITIES.iter().find(|(e, _)| tail.starts_with(e)) {
            out.push(*by);
            rest = &tail[entity.len()..];
        } else if let Some((character, tail)) = number(tail) {
            out.extend(character.encode_utf8(&mut [0; 4]).bytes());
            rest = tail;
        } else {
            out.push(b'&');
        }
    }
    out
}

fn number(text: &[u8]) -> Option<(char, &[u8])> {
    let (digits, rest) = after(text.strip_prefix(b"#")?, b";")?;
    let digits = std::str::from_utf8(digits).ok()?;
    let number = match digits.strip_prefix('x') {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => digits.parse(),
    };
    Some((char::from_u32(number.ok()?)?, rest))
}
