//! How much memory payloads take.

use super::{Object, Payload, Value};
use crate::record::PIECE_BYTES;

/// Members that a node of a map has room for, and has at least unless it is alone.
const NODE_MEMBERS: usize = 11;
const NODE_MEMBERS_MIN: usize = 5;

impl Payload {
    /// About how many bytes of memory it takes, itself left out.
    pub(crate) fn ram_bytes(&self) -> usize {
        object_bytes(self.as_object())
    }
}

/// A map is a tree whose nodes have room for some members, used or not.
fn object_bytes(object: &Object) -> usize {
    let node = NODE_MEMBERS * (size_of::<String>() + size_of::<Value>()) + PIECE_BYTES;
    let nodes = object.len().div_ceil(NODE_MEMBERS_MIN + 1);
    let members = object.iter().map(|(key, value)| key.capacity() + PIECE_BYTES + value_bytes(value));
    nodes * node + members.sum::<usize>()
}

fn value_bytes(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity() + PIECE_BYTES,
        Value::Array(values) => {
            let own = values.capacity() * size_of::<Value>() + PIECE_BYTES;
            own + values.iter().map(value_bytes).sum::<usize>()
        }
        Value::Object(object) => object_bytes(object),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_takes_more_than_its_bytes() {
        assert_eq!(Payload::new().ram_bytes(), 0);
        let one = Payload::new().with("n", 1);
        let more = one.clone().with("text", "x".repeat(1_000)).with("list", vec![1; 100]);
        assert!(one.ram_bytes() > 11 * size_of::<String>());
        assert!(more.ram_bytes() > one.ram_bytes() + 1_000 + 100 * size_of::<Value>());
        let many: Payload = (0..1_000).map(|at| (format!("{at:04}"), at)).collect();
        let least = 1_000 * (size_of::<String>() + size_of::<Value>() + 4);
        assert!((least..4 * least).contains(&many.ram_bytes()));
    }
}
