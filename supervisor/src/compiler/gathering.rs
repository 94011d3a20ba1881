//! Believing a document that a compile process wrote, and gathering the files that it names.

use std::collections::{BTreeSet, HashMap};

use simward_protocol::compile::{ASSETS_MAX, Asset, Compile, ENTRY};
use simward_protocol::editing::{Flattened, Taken, XML_BYTES_MAX};

use super::Error;

/// Believes no more of a document than can be: that it is no longer than it may be, and that its
/// files are out of the sources, each under a path of its own.
pub(super) fn check(flattened: &Flattened, sources: &[&Compile]) -> Result<(), Error> {
    let Flattened { model_xml, assets } = flattened;
    let mut paths = BTreeSet::new();
    let is_right = model_xml.len() <= XML_BYTES_MAX
        && assets.len() <= ASSETS_MAX
        && assets.iter().all(|Taken { path, source, index }| {
            let of = sources.get(*source as usize);
            let is_there = of.is_some_and(|of| (*index as usize) < of.assets.len());
            let is_path = !path.is_empty()
                && path.len() <= PATH_BYTES_MAX
                && path != ENTRY
                && !path.starts_with(['/', '\\'])
                && path.split(['/', '\\']).all(|part| part != "..")
                && !path.contains('\0');
            is_there && is_path && paths.insert(path)
        });
    if is_right { Ok(()) } else { Err(Error::BrokeProtocol) }
}

/// The longest path of a file in a document.
const PATH_BYTES_MAX: usize = 16 << 10;

/// A source out of a document and the files of others. Both were checked.
pub(super) fn gathered(flattened: Flattened, sources: Vec<Compile>) -> Compile {
    let Flattened { model_xml, assets } = flattened;
    // A file that is named once is moved, and one that is named again is copied.
    let mut files: Vec<Vec<Asset>> = sources.into_iter().map(|source| source.assets).collect();
    let mut uses: HashMap<(u32, u32), usize> = HashMap::new();
    for taken in &assets {
        *uses.entry((taken.source, taken.index)).or_default() += 1;
    }
    let mut gathered = Vec::with_capacity(assets.len());
    for Taken { path, source, index } in assets {
        let file = files.get_mut(source as usize).and_then(|of| of.get_mut(index as usize));
        let left = uses.get_mut(&(source, index));
        let (Some(file), Some(left)) = (file, left) else { continue };
        *left -= 1;
        let content =
            if *left == 0 { std::mem::take(&mut file.content) } else { file.content.clone() };
        gathered.push(Asset { path, content });
    }
    Compile { entry: ENTRY.to_owned(), model_xml, assets: gathered, keep: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(paths: &[&str]) -> Compile {
        let asset = |path: &&str| Asset { path: (*path).into(), content: path.as_bytes().to_vec() };
        let assets = paths.iter().map(asset).collect();
        Compile { entry: ENTRY.into(), model_xml: "<mujoco/>".into(), assets, keep: true }
    }

    fn document(assets: &[(&str, u32, u32)]) -> Flattened {
        let taken = |(path, source, index): &(&str, u32, u32)| Taken {
            path: (*path).into(),
            source: *source,
            index: *index,
        };
        Flattened { model_xml: "<mujoco/>".into(), assets: assets.iter().map(taken).collect() }
    }

    #[test]
    fn a_source_is_gathered_out_of_others() {
        let sources = [source(&["a", "b"]), source(&["a"])];
        let taken = document(&[("x/a", 0, 1), ("a", 1, 0), ("again", 0, 1)]);
        check(&taken, &sources.iter().collect::<Vec<_>>()).unwrap();
        let gathered = gathered(taken, sources.to_vec());
        let assets: Vec<_> = gathered
            .assets
            .iter()
            .map(|asset| (asset.path.as_str(), asset.content.as_slice()))
            .collect();
        assert_eq!(assets, [("x/a", &b"b"[..]), ("a", b"a"), ("again", b"b")]);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let sources = [source(&["a", "b"]), source(&["a"])];
        let sources: Vec<_> = sources.iter().collect();
        for wrong in [
            &[("a", 2, 0)][..],
            &[("a", 0, 2)],
            &[("a", u32::MAX, u32::MAX)],
            &[("a", 0, 0), ("a", 0, 1)],
            &[("", 0, 0)],
            &[("/etc/passwd", 0, 0)],
            &[("x/../y", 0, 0)],
            &[("x\0", 0, 0)],
            &[(ENTRY, 0, 0)],
        ] {
            let refused = check(&document(wrong), &sources);
            assert!(matches!(refused, Err(Error::BrokeProtocol)), "{wrong:?}");
        }
        let mut long = document(&[]);
        long.model_xml = " ".repeat(XML_BYTES_MAX + 1);
        assert!(check(&long, &sources).is_err());
    }
}
