//! Which field indexes a collection has, and which files of a segment they have, as the manifest knows them.

use std::fmt;

use nearline_storage::{Decoder, Encoder, StorageError};

use crate::field::FieldType;
use crate::filter::{TextOptions, Tokenizer};
use crate::path::FieldPath;

/// Field indexes of a collection at most.
pub const FIELD_INDEXES_MAX: usize = 64;

/// A field index that a collection has.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FieldIndexInfo {
    /// Its own: an index that is dropped and created again has another.
    pub(crate) number: u64,
    pub(crate) path: FieldPath,
    pub(crate) field_type: FieldType,
}

/// The file that a segment has for a field index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldFileInfo {
    /// The number of the index.
    pub(crate) index: u64,
    /// The N of the file, its own.
    pub(crate) number: u64,
    pub(crate) bytes: u64,
}

/// The file of such a number.
pub(crate) fn field_name(number: u64) -> String {
    format!("field.{number:06}")
}

/// Whether a file of a field index, or one that it is made of, may have this name.
pub(crate) fn is_field_file(name: &str) -> bool {
    name.starts_with("field.")
}

/// The number of such a file.
pub(crate) fn field_number(name: &str) -> Option<u64> {
    name.strip_prefix("field.")?.split('.').next()?.parse().ok()
}

impl FieldIndexInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).str(&self.path.to_string());
        encode_type(self.field_type, out);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let number = decoder.u64()?;
        let at = decoder.offset();
        let text = decoder.str()?;
        let path = text.parse().map_err(|_| decoder.wrong(at, "path of a field", text.len() as u64, 0))?;
        Ok(Self { number, path, field_type: decode_type(decoder)? })
    }
}

impl FieldFileInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.index).u64(self.number).u64(self.bytes);
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        Ok(Self { index: decoder.u64()?, number: decoder.u64()?, bytes: decoder.u64()? })
    }
}

// Their places are their numbers in files.
const PLAIN: [FieldType; 7] = [
    FieldType::Keyword,
    FieldType::Integer,
    FieldType::Float,
    FieldType::Bool,
    FieldType::Datetime,
    FieldType::Uuid,
    FieldType::Geo,
];
const TEXT: u8 = PLAIN.len() as u8;
const TOKENIZERS: [Tokenizer; 4] =
    [Tokenizer::Word, Tokenizer::Whitespace, Tokenizer::Prefix, Tokenizer::Multilingual];

fn encode_type(field_type: FieldType, out: &mut Encoder) {
    let FieldType::Text(options) = field_type else {
        let place = PLAIN.iter().position(|plain| *plain == field_type);
        out.u8(place.map_or(u8::MAX, |place| place as u8));
        return;
    };
    let tokenizer = TOKENIZERS.iter().position(|known| *known == options.tokenizer);
    out.u8(TEXT).u8(tokenizer.map_or(u8::MAX, |place| place as u8)).u8(options.lowercase.into());
    for len in [options.min_token_len, options.max_token_len] {
        out.varint(len.map_or(0, |len| len as u64 + 1));
    }
}

fn decode_type(decoder: &mut Decoder<'_>) -> Result<FieldType, StorageError> {
    let at = decoder.offset();
    let code = decoder.u8()?;
    if code != TEXT {
        let plain = PLAIN.get(usize::from(code)).copied();
        return plain.ok_or_else(|| decoder.wrong(at, "type of a field index", code.into(), TEXT.into()));
    }
    let at = decoder.offset();
    let (tokenizer, lowercase) = (decoder.u8()?, decoder.u8()?);
    let (Some(&tokenizer), 0..=1) = (TOKENIZERS.get(usize::from(tokenizer)), lowercase) else {
        return Err(decoder.wrong(at, "tokenizer or case of a field index", tokenizer.into(), 0));
    };
    let mut len = || Ok::<_, StorageError>(decoder.varint()?.checked_sub(1).map(|len| len as usize));
    let (min_token_len, max_token_len) = (len()?, len()?);
    Ok(FieldType::Text(TextOptions { tokenizer, lowercase: lowercase == 1, min_token_len, max_token_len }))
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keyword => "keyword",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Datetime => "datetime",
            Self::Uuid => "uuid",
            Self::Geo => "geo",
            Self::Text(options) if *options == TextOptions::default() => "text",
            Self::Text(options) => return write!(f, "text by {options:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_nothing_else_does() {
        let texts = TOKENIZERS.map(|tokenizer| {
            FieldType::Text(TextOptions {
                tokenizer,
                lowercase: false,
                min_token_len: Some(0),
                max_token_len: Some(300),
            })
        });
        for field_type in PLAIN.into_iter().chain(texts).chain([FieldType::Text(TextOptions::default())]) {
            let info = FieldIndexInfo { number: 7, path: "a[].\"b.c\"".parse().unwrap(), field_type };
            let mut out = Encoder::new();
            info.encode(&mut out);
            let bytes = out.into_bytes();
            let decode = |bytes: &[u8]| FieldIndexInfo::decode(&mut Decoder::new(bytes, Path::new("m"), 0));
            assert_eq!(decode(&bytes).unwrap(), info);
            (0..bytes.len()).for_each(|len| assert!(decode(&bytes[..len]).is_err(), "{len}"));
        }
        let bad =
            [8_u8, 255].map(|code| decode_type(&mut Decoder::new(&[code, 9, 9, 0, 0], Path::new("m"), 0)));
        assert!(bad.iter().all(Result::is_err));
    }
}
