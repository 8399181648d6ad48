//! Payloads as bytes: compact, and the same bytes for equal payloads.

use nearline_storage::{Decoder, StorageError};

use super::{Number, Object, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, Payload, Value, ValueError};

/// The version of the encoding: the first byte.
const VERSION: u8 = 1;

/// The first byte of a value.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    /// A varint follows.
    pub(super) const INTEGER: u8 = 3;
    /// A varint follows, worth `-1 - varint`.
    pub(super) const NEGATIVE: u8 = 4;
    /// Eight bytes follow.
    pub(super) const FLOAT: u8 = 5;
    pub(super) const STRING: u8 = 6;
    pub(super) const ARRAY: u8 = 7;
    pub(super) const OBJECT: u8 = 8;
}

type Decoded<T> = Result<T, StorageError>;

impl Payload {
    /// Appends the payload's bytes.
    ///
    /// # Errors
    /// If [`Payload::check`] fails; then nothing is appended.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let start = out.len();
        let bytes = self.encoded_bytes()?;
        out.reserve(bytes);
        out.push(VERSION);
        put_object(out, &self.0);
        debug_assert_eq!(out.len() - start, bytes);
        Ok(())
    }

    /// How many bytes [`Payload::encode`] appends.
    ///
    /// # Errors
    /// As [`Payload::check`].
    pub fn encoded_bytes(&self) -> Result<usize, ValueError> {
        let mut bytes = 1 + varint_bytes(self.0.len() as u64);
        for (key, value) in &self.0 {
            let measured = measure(value, 1).map_err(|flaw| match flaw {
                Flaw::Deep => ValueError::TooDeep { limit: PAYLOAD_DEPTH_MAX },
                Flaw::NotFinite(found) => ValueError::NotFinite { key: key.clone(), found },
            })?;
            bytes += text_bytes(key) + measured;
        }
        if bytes > PAYLOAD_BYTES_MAX {
            return Err(ValueError::TooLarge { found: bytes, limit: PAYLOAD_BYTES_MAX });
        }
        Ok(bytes)
    }

    /// Takes all that is left of a section of a file as one payload.
    ///
    /// # Errors
    /// If the bytes are not what [`Payload::encode`] appends, down to the shortest form of every length.
    pub fn decode(mut decoder: Decoder<'_>) -> Decoded<Self> {
        let at = decoder.offset();
        let version = decoder.u8()?;
        if version != VERSION {
            return Err(decoder.wrong(at, "version of a payload", version.into(), VERSION.into()));
        }
        if decoder.remaining() >= PAYLOAD_BYTES_MAX {
            let found = decoder.remaining() as u64 + 1;
            return Err(decoder.wrong(at, "length of a payload", found, PAYLOAD_BYTES_MAX as u64));
        }
        let members = take_object(&mut decoder, 1)?;
        decoder.finish()?;
        Ok(Self(members))
    }
}

/// What makes a value impossible to keep.
enum Flaw {
    Deep,
    NotFinite(f64),
}

/// The bytes of a value inside of `depth` arrays and objects.
fn measure(value: &Value, depth: usize) -> Result<usize, Flaw> {
    let inner = match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => match number.as_i128() {
            Some(integer) => varint_bytes(magnitude(integer)),
            None if number.is_finite() => 8,
            None => return Err(Flaw::NotFinite(number.as_f64())),
        },
        Value::String(text) => text_bytes(text),
        Value::Array(_) | Value::Object(_) if depth >= PAYLOAD_DEPTH_MAX => return Err(Flaw::Deep),
        Value::Array(values) => {
            let elements = values.iter().map(|value| measure(value, depth + 1));
            elements.sum::<Result<usize, Flaw>>()? + varint_bytes(values.len() as u64)
        }
        Value::Object(members) => {
            let members_bytes =
                members.iter().map(|(key, value)| Ok(text_bytes(key) + measure(value, depth + 1)?));
            members_bytes.sum::<Result<usize, Flaw>>()? + varint_bytes(members.len() as u64)
        }
    };
    Ok(1 + inner)
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.push(tag::NULL),
        Value::Bool(false) => out.push(tag::FALSE),
        Value::Bool(true) => out.push(tag::TRUE),
        Value::Number(number) => put_number(out, *number),
        Value::String(text) => {
            out.push(tag::STRING);
            put_text(out, text);
        }
        Value::Array(values) => {
            out.push(tag::ARRAY);
            put_varint(out, values.len() as u64);
            values.iter().for_each(|value| put_value(out, value));
        }
        Value::Object(members) => {
            out.push(tag::OBJECT);
            put_object(out, members);
        }
    }
}

fn put_number(out: &mut Vec<u8>, number: Number) {
    match number.as_i128() {
        Some(integer) => {
            out.push(if integer < 0 { tag::NEGATIVE } else { tag::INTEGER });
            put_varint(out, magnitude(integer));
        }
        None => {
            out.push(tag::FLOAT);
            out.extend_from_slice(&number.as_f64().to_le_bytes());
        }
    }
}

fn put_object(out: &mut Vec<u8>, members: &Object) {
    put_varint(out, members.len() as u64);
    for (key, value) in members {
        put_text(out, key);
        put_value(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// What follows the tag of an integer: itself, or how far it is below -1.
fn magnitude(integer: i128) -> u64 {
    let distance = if integer < 0 { -1 - integer } else { integer };
    u64::try_from(distance).expect("numbers hold integers of i64 and u64")
}

/// Appends seven bits a byte, lowest first; all bytes but the last have their high bit set.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_bytes(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn text_bytes(text: &str) -> usize {
    varint_bytes(text.len() as u64) + text.len()
}

fn take_value(decoder: &mut Decoder<'_>, depth: usize) -> Decoded<Value> {
    let at = decoder.offset();
    let tag = decoder.u8()?;
    if matches!(tag, tag::ARRAY | tag::OBJECT) && depth >= PAYLOAD_DEPTH_MAX {
        return Err(decoder.wrong(at, "depth of a payload", depth as u64 + 1, PAYLOAD_DEPTH_MAX as u64));
    }
    Ok(match tag {
        tag::NULL => Value::Null,
        tag::FALSE => Value::Bool(false),
        tag::TRUE => Value::Bool(true),
        tag::INTEGER => Value::from(take_varint(decoder)?),
        tag::NEGATIVE => take_negative(decoder)?,
        tag::FLOAT => take_float(decoder)?,
        tag::STRING => Value::String(take_text(decoder)?.to_owned()),
        tag::ARRAY => take_array(decoder, depth + 1)?,
        tag::OBJECT => Value::Object(take_object(decoder, depth + 1)?),
        _ => return Err(decoder.wrong(at, "tag of a value", tag.into(), tag::OBJECT.into())),
    })
}

fn take_negative(decoder: &mut Decoder<'_>) -> Decoded<Value> {
    let at = decoder.offset();
    let distance = take_varint(decoder)?;
    match i64::try_from(distance) {
        Ok(distance) => Ok(Value::from(-1 - distance)),
        Err(_) => Err(decoder.wrong(at, "negative integer", distance, i64::MAX as u64)),
    }
}

fn take_float(decoder: &mut Decoder<'_>) -> Decoded<Value> {
    let at = decoder.offset();
    let float = decoder.f64()?;
    if !float.is_finite() {
        return Err(decoder.wrong(at, "float, which is not finite", float.to_bits(), f64::MAX.to_bits()));
    }
    Ok(Value::from(float))
}

fn take_array(decoder: &mut Decoder<'_>, depth: usize) -> Decoded<Value> {
    let count = take_count(decoder, 1)?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(take_value(decoder, depth)?);
    }
    Ok(Value::Array(values))
}

fn take_object(decoder: &mut Decoder<'_>, depth: usize) -> Decoded<Object> {
    let count = take_count(decoder, 2)?;
    let mut members = Object::new();
    for position in 0..count {
        let at = decoder.offset();
        let key = take_text(decoder)?;
        if members.last_key_value().is_some_and(|(last, _)| last.as_str() >= key) {
            return Err(decoder.wrong(
                at,
                "order of keys, at the member",
                position as u64,
                position as u64 + 1,
            ));
        }
        let key = key.to_owned();
        members.insert(key, take_value(decoder, depth)?);
    }
    Ok(members)
}

/// A count of things that take `bytes_each` bytes at least, so that it cannot exceed what is left.
fn take_count(decoder: &mut Decoder<'_>, bytes_each: usize) -> Decoded<usize> {
    let at = decoder.offset();
    let count = take_varint(decoder)?;
    let most = (decoder.remaining() / bytes_each) as u64;
    if count > most {
        return Err(decoder.wrong(at, "count of values", count, most));
    }
    Ok(count as usize)
}

fn take_text<'a>(decoder: &mut Decoder<'a>) -> Decoded<&'a str> {
    let len = take_count(decoder, 1)?;
    let at = decoder.offset();
    let bytes = decoder.raw(len)?;
    std::str::from_utf8(bytes).map_err(|error| {
        decoder.wrong(at, "number of leading UTF-8 bytes", error.valid_up_to() as u64, len as u64)
    })
}

fn take_varint(decoder: &mut Decoder<'_>) -> Decoded<u64> {
    let at = decoder.offset();
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = decoder.u8()?;
        let bits = u64::from(byte & 0x7f);
        let fits = shift < 63 || bits <= 1;
        let shortest = bits > 0 || byte >= 0x80 || shift == 0;
        if !fits || !shortest {
            return Err(decoder.wrong(at, "varint, in its last byte", byte.into(), 1));
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(decoder.wrong(at, "number of bytes of a varint", 11, 10))
}
