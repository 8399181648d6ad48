//! All decoders of behaviour spaces, for fuzzing.

use std::path::Path;

use nearline_index::sdim::{SignFamily, SignShape};
use nearline_storage::{Decoder, Encoder};

use super::files::{Key, decode_chunk, decode_head, joined};
use super::history::Embedding;
use super::manifest::{Epoch, Manifest};
use super::record::Write;
use super::tallied::Tallied;

/// Decodes bytes with the decoder that the first of them picks: they are refused, or what was decoded encodes to the same
/// where there is one way to write it.
///
/// # Panics
/// When it encodes to something else.
pub fn decode(data: &[u8]) {
    let Some((which, bytes)) = data.split_first() else { return };
    let path = Path::new("fuzz");
    let Ok(shape) = SignShape::new(2, 2, 2) else { return };
    let Ok(family) = SignFamily::from_seed(shape, 1) else { return };
    let epoch = Epoch {
        store_id: 1,
        family,
        normalize: super::Normalize::L2,
        ttl: None,
        embedding_version: String::new(),
    };
    let again = match which % 8 {
        0 => Key::decode(bytes, path).map(Key::encode),
        1 => decode_head(bytes, path).map(|head| head.encode()),
        2 => decode_chunk(bytes, path, &epoch).map(|events| {
            let mut out = Encoder::new();
            events.iter().for_each(|event| event.encode(&mut out));
            joined(events.len() as u32, out.as_bytes())
        }),
        3 => Tallied::decode(bytes, path, shape).map(|tallied| tallied.encode()),
        4 => Write::decode(bytes, path, &epoch.family).map(|write| write.encode()),
        5 => {
            let mut decoder = Decoder::new(bytes, path, 0);
            let embedding = Embedding::decode(&mut decoder, shape);
            embedding.and_then(|embedding| {
                decoder.finish()?;
                let mut out = Encoder::new();
                embedding.encode(&mut out);
                Ok(out.into_bytes())
            })
        }
        6 => {
            let mut decoder = Decoder::new(bytes, path, 0);
            let manifest = Manifest::decode(&mut decoder, path);
            manifest.and_then(|manifest| decoder.finish().map(|()| manifest.encode()))
        }
        _ => {
            let mut decoder = Decoder::new(bytes, path, 0);
            // It is large, and written once.
            return drop(Epoch::decode(&mut decoder, path));
        }
    };
    if let Ok(again) = again {
        // Marks that stand for yes and no may be any number; marks of sources may come in any order.
        let is_loose = matches!(which % 8, 3 | 4 | 6);
        assert!(is_loose || again == bytes, "{which}: {bytes:?}, again {again:?}");
    }
}
