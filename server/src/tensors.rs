//! Tensors of the Open Inference Protocol, version 2, with its extension for binary data: a head in JSON, behind it the bytes of those
//! tensors that are not in it, in their order, little-endian.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::Response;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};

use crate::content::Content;
use crate::error::ApiError;
use crate::rows::BARE;

/// Says how long the head is; without it there is nothing behind it.
pub(crate) const HEAD_BYTES: HeaderName = HeaderName::from_static("inference-header-content-length");

/// The head of a request.
#[derive(Debug, Deserialize, JsonSchema)]
pub(crate) struct InferIn {
    id: Option<String>,
    inputs: Vec<TensorIn>,
    #[serde(default)]
    outputs: Vec<OutputIn>,
    #[serde(default)]
    parameters: OutputParams,
}

/// A tensor that comes in: its numbers are here, flat or nested, or their bytes behind the head.
#[derive(Debug, Deserialize, JsonSchema)]
struct TensorIn {
    name: String,
    shape: Vec<usize>,
    datatype: Datatype,
    #[serde(default)]
    parameters: TensorParams,
    data: Option<Value>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct TensorParams {
    binary_data_size: Option<usize>,
}

/// A tensor that is asked for.
#[derive(Debug, Deserialize, JsonSchema)]
struct OutputIn {
    name: String,
    #[serde(default)]
    parameters: OutputParams,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct OutputParams {
    /// Of one tensor: whether it goes out as bytes.
    binary_data: Option<bool>,
    /// The same of all that do not say.
    binary_data_output: Option<bool>,
}

/// What the numbers of a tensor are.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
pub(crate) enum Datatype {
    #[serde(rename = "FP32")]
    Fp32,
    #[serde(rename = "INT64")]
    Int64,
    #[serde(rename = "UINT64")]
    Uint64,
}

impl Datatype {
    fn bytes(self) -> usize {
        match self {
            Self::Fp32 => 4,
            Self::Int64 | Self::Uint64 => 8,
        }
    }
}

/// A tensor, whose numbers are as many as its shape says.
#[derive(Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) numbers: Numbers,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Numbers {
    Floats(Vec<f32>),
    /// Of either type of integers.
    Counts(Vec<u64>),
}

/// The tensors of a request, and in which form which are to go out.
#[derive(Debug)]
pub(crate) struct Inference {
    id: Option<String>,
    inputs: Vec<Tensor>,
    outputs: Vec<OutputIn>,
    is_binary: bool,
}

impl Inference {
    /// The tensors of a body.
    ///
    /// # Errors
    /// 400 for a head or tensors that are not as the protocol has them.
    pub(crate) fn read(content: &Content) -> Result<Self, ApiError> {
        Self::of(content.bytes(), content.head_bytes())
    }

    fn of(body: &[u8], head_bytes: Option<usize>) -> Result<Self, ApiError> {
        let (head, mut rest) = match head_bytes {
            None => (body, &[][..]),
            Some(length) => body.split_at_checked(length).ok_or_else(|| {
                let found = body.len();
                ApiError::bad_request(format_args!("{HEAD_BYTES} is {length}; the body has {found} bytes"))
            })?,
        };
        let InferIn { id, inputs, outputs, parameters } =
            serde_json::from_slice(head).map_err(|error| ApiError::format(&error))?;
        let mut all: Vec<Tensor> = Vec::with_capacity(inputs.len());
        for input in inputs {
            let tensor = input.read(&mut rest)?;
            if all.iter().any(|other| other.name == tensor.name) {
                return Err(ApiError::bad_request(format_args!("two inputs are called {:?}", tensor.name)));
            }
            all.push(tensor);
        }
        if !rest.is_empty() {
            let found = rest.len();
            return Err(ApiError::bad_request(format_args!("{found} bytes behind those of all inputs")));
        }
        Ok(Self { id, inputs: all, outputs, is_binary: parameters.binary_data_output.unwrap_or(false) })
    }

    /// The input that is called so, if there is one.
    pub(crate) fn take(&mut self, name: &str) -> Option<Tensor> {
        let at = self.inputs.iter().position(|tensor| tensor.name == name)?;
        Some(self.inputs.swap_remove(at))
    }

    /// Refuses inputs that nobody took.
    pub(crate) fn check_taken(&self, expected: &str) -> Result<(), ApiError> {
        match self.inputs.first() {
            None => Ok(()),
            Some(tensor) => {
                Err(ApiError::bad_request(format_args!("input {:?}; expected {expected}", tensor.name)))
            }
        }
    }

    /// An answer of these tensors, or of those of them that are asked for.
    ///
    /// # Errors
    /// 400 when one is asked for that is not among them.
    pub(crate) fn answer(&self, model: &str, tensors: &[Tensor]) -> Result<Response, ApiError> {
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
        if let Some(output) = self.outputs.iter().find(|output| find(&output.name).is_none()) {
            let names: Vec<&str> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
            let (found, expected) = (&output.name, names.join(", "));
            return Err(ApiError::bad_request(format_args!("output {found:?}; expected some of {expected}")));
        }
        let mut behind = Vec::new();
        let mut one = |tensor: &Tensor, output: Option<&OutputIn>| {
            let is_binary = output.and_then(|output| output.parameters.binary_data).unwrap_or(self.is_binary);
            tensor.write(is_binary.then_some(&mut behind))
        };
        let outputs: Vec<Value> = match self.outputs.is_empty() {
            true => tensors.iter().map(|tensor| one(tensor, None)).collect(),
            false => {
                let asked = self.outputs.iter().filter_map(|output| Some((find(&output.name)?, output)));
                asked.map(|(tensor, output)| one(tensor, Some(output))).collect()
            }
        };
        let mut head = json!({ "model_name": model, "outputs": outputs });
        if let Some(id) = &self.id {
            head["id"] = json!(id);
        }
        Ok(respond(head.to_string().into_bytes(), &behind))
    }
}

fn respond(mut head: Vec<u8>, behind: &[u8]) -> Response {
    let (length, kind) = (head.len(), if behind.is_empty() { "application/json" } else { BARE });
    head.extend_from_slice(behind);
    let mut response = Response::new(head.into());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if !behind.is_empty() {
        response.headers_mut().insert(HEAD_BYTES, HeaderValue::from(length));
    }
    response
}

/// How long the head of a body is, if a request says so.
///
/// # Errors
/// 400 for what is no number.
pub(crate) fn head_bytes(headers: &HeaderMap) -> Result<Option<usize>, ApiError> {
    let Some(value) = headers.get(HEAD_BYTES) else { return Ok(None) };
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    let refused =
        || ApiError::bad_request(format_args!("{HEAD_BYTES} is {value:?}; expected a number of bytes"));
    length.map(Some).ok_or_else(refused)
}

impl TensorIn {
    /// The tensor; its bytes, if it has any, are taken from the front of `rest`.
    fn read(self, rest: &mut &[u8]) -> Result<Tensor, ApiError> {
        let Self { name, shape, datatype, parameters, data } = self;
        let bad =
            |what: std::fmt::Arguments<'_>| ApiError::bad_request(format_args!("input {name:?}: {what}"));
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let bytes = count.and_then(|count| count.checked_mul(datatype.bytes()));
        let (Some(count), Some(bytes)) = (count, bytes) else {
            return Err(bad(format_args!("shape {shape:?}; expected fewer numbers")));
        };
        let numbers = match (parameters.binary_data_size, data) {
            (Some(size), None) => {
                if size != bytes {
                    return Err(bad(format_args!("{size} bytes; expected {bytes}, as shape {shape:?} says")));
                }
                let (own, others) = rest
                    .split_at_checked(size)
                    .ok_or_else(|| bad(format_args!("{size} bytes; {} are left of the body", rest.len())))?;
                *rest = others;
                of_bytes(datatype, own)
            }
            (None, Some(data)) => {
                let mut all = Vec::new();
                flatten(&data, &mut all);
                if all.len() != count {
                    let found = all.len();
                    return Err(bad(format_args!(
                        "{found} numbers; expected {count}, as shape {shape:?} says"
                    )));
                }
                of_json(datatype, &all)
            }
            _ => return Err(bad(format_args!("expected data or parameters.binary_data_size, one of them"))),
        };
        let numbers = numbers.ok_or_else(|| bad(format_args!("a value that is no {datatype:?}")))?;
        Ok(Tensor { name, shape, numbers })
    }
}

/// Numbers of bytes. `None` for integers below 0: none of ours are.
fn of_bytes(datatype: Datatype, bytes: &[u8]) -> Option<Numbers> {
    let counts = || bytes.as_chunks().0.iter().map(|bytes| u64::from_le_bytes(*bytes));
    match datatype {
        Datatype::Fp32 => {
            let floats = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            Some(Numbers::Floats(floats.collect()))
        }
        Datatype::Uint64 => Some(Numbers::Counts(counts().collect())),
        Datatype::Int64 => {
            let positive = counts().map(|count| i64::try_from(count).is_ok().then_some(count));
            positive.collect::<Option<_>>().map(Numbers::Counts)
        }
    }
}

fn of_json(datatype: Datatype, values: &[&Value]) -> Option<Numbers> {
    match datatype {
        Datatype::Fp32 => {
            let floats = values.iter().map(|value| value.as_f64().map(|value| value as f32));
            floats.collect::<Option<_>>().map(Numbers::Floats)
        }
        Datatype::Int64 | Datatype::Uint64 => {
            values.iter().map(|value| value.as_u64()).collect::<Option<_>>().map(Numbers::Counts)
        }
    }
}

/// What is in lists of lists, in order.
fn flatten<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| flatten(value, out)),
        value => out.push(value),
    }
}

impl Tensor {
    /// The tensor in the head of an answer; its numbers go behind it, if they are to.
    fn write(&self, behind: Option<&mut Vec<u8>>) -> Value {
        let Self { name, shape, numbers } = self;
        let (datatype, count) = match numbers {
            Numbers::Floats(values) => (Datatype::Fp32, values.len()),
            Numbers::Counts(values) => (Datatype::Uint64, values.len()),
        };
        let mut out = json!({ "name": name, "shape": shape, "datatype": datatype });
        match (behind, numbers) {
            (Some(behind), numbers) => {
                match numbers {
                    Numbers::Floats(values) => {
                        behind.extend(values.iter().flat_map(|value| value.to_le_bytes()))
                    }
                    Numbers::Counts(values) => {
                        behind.extend(values.iter().flat_map(|value| value.to_le_bytes()))
                    }
                }
                out["parameters"] = json!({ "binary_data_size": count * datatype.bytes() });
            }
            (None, Numbers::Floats(values)) => {
                let number =
                    |value: &f32| Number::from_f64(f64::from(*value)).map_or(Value::Null, Value::Number);
                out["data"] = values.iter().map(number).collect();
            }
            (None, Numbers::Counts(values)) => out["data"] = json!(values),
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &[u8], head: Option<usize>) -> String {
        format!("{:?}", Inference::of(body, head).unwrap_err())
    }

    #[test]
    fn tensors_are_read_from_the_head_and_from_behind_it() {
        let head = json!({ "inputs": [
            { "name": "a", "shape": [2], "datatype": "INT64", "parameters": { "binary_data_size": 16 } },
            { "name": "b", "shape": [2, 1], "datatype": "FP32", "data": [[0.5], [2]] },
            { "name": "c", "shape": [1], "datatype": "FP32", "parameters": { "binary_data_size": 4 } },
        ]});
        let mut body = head.to_string().into_bytes();
        let length = body.len();
        body.extend([7u64, 9].iter().flat_map(|number| number.to_le_bytes()));
        body.extend(1.25f32.to_le_bytes());
        let mut read = Inference::of(&body, Some(length)).unwrap();
        assert_eq!(read.take("a").unwrap().numbers, Numbers::Counts(vec![7, 9]));
        assert_eq!(read.take("b").unwrap().numbers, Numbers::Floats(vec![0.5, 2.0]));
        assert!(read.check_taken("a and b").is_err());
        assert_eq!(read.take("c").unwrap().numbers, Numbers::Floats(vec![1.25]));
        assert!(read.take("c").is_none() && read.check_taken("all").is_ok());
        // A byte too few, one too many.
        assert!(error(&body[..body.len() - 1], Some(length)).contains("3 are left"));
        body.push(0);
        assert!(error(&body, Some(length)).contains("1 bytes behind"));
    }

    #[test]
    fn what_is_no_such_tensor_is_refused() {
        let one = |tensor: Value| json!({ "inputs": [tensor] }).to_string().into_bytes();
        for (tensor, part) in [
            (
                json!({ "name": "a", "shape": [3], "datatype": "FP32", "data": [1, 2] }),
                "2 numbers; expected 3",
            ),
            (json!({ "name": "a", "shape": [1], "datatype": "FP32" }), "expected data or"),
            (json!({ "name": "a", "shape": [1], "datatype": "BYTES", "data": ["x"] }), "unknown variant"),
            (json!({ "name": "a", "shape": [1], "datatype": "INT64", "data": [-1] }), "no Int64"),
            (json!({ "name": "a", "shape": [1], "datatype": "UINT64", "data": [0.5] }), "no Uint64"),
            (json!({ "name": "a", "shape": [1], "datatype": "FP32", "data": [null] }), "no Fp32"),
            (
                json!({ "name": "a", "shape": [1u64 << 62, 4], "datatype": "FP32", "data": [] }),
                "fewer numbers",
            ),
            (json!({ "name": "a", "shape": [-1], "datatype": "FP32", "data": [] }), "invalid value"),
        ] {
            let found = error(&one(tensor), None);
            assert!(found.contains(part), "{found}");
        }
        let twice = json!({ "name": "a", "shape": [0], "datatype": "FP32", "data": [] });
        let twice = json!({ "inputs": [twice, twice] }).to_string();
        assert!(error(twice.as_bytes(), None).contains("two inputs"));
        assert!(error(b"{}", Some(3)).contains("the body has 2 bytes"));
    }

    #[test]
    fn damaged_bytes_are_errors_or_tensors() {
        let head = json!({ "inputs": [
            { "name": "a", "shape": [2, 2], "datatype": "FP32", "parameters": { "binary_data_size": 16 } },
            { "name": "b", "shape": [1], "datatype": "UINT64", "data": [5] },
        ]});
        let whole = [head.to_string().into_bytes(), vec![1; 16]].concat();
        let (length, mut state) = (whole.len() - 16, 1u64);
        let mut below = |bound: usize| {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut body = whole.clone();
            for _ in 0..1 + below(3) {
                let at = below(body.len());
                body[at] = below(256) as u8;
            }
            body.truncate(below(2 * whole.len()));
            let Ok(mut read) = Inference::of(&body, Some(length.wrapping_add(below(3)))) else {
                refused += 1;
                continue;
            };
            while let Some(tensor) = read.inputs.pop() {
                let count = match &tensor.numbers {
                    Numbers::Floats(values) => values.len(),
                    Numbers::Counts(values) => values.len(),
                };
                assert_eq!(count, tensor.shape.iter().product::<usize>());
            }
        }
        assert!(refused > 15_000 && refused < 20_000, "{refused}");
    }

    #[test]
    fn answers_have_what_is_asked_for_in_the_form_that_is() {
        let ask = |request: Value| Inference::of(request.to_string().as_bytes(), None).unwrap();
        let floats =
            Tensor { name: "x".into(), shape: vec![2, 1], numbers: Numbers::Floats(vec![0.5, -2.0]) };
        let counts = Tensor { name: "n".into(), shape: vec![1], numbers: Numbers::Counts(vec![3]) };
        let tensors = [floats, counts];
        let plain = ask(json!({ "id": "7", "inputs": [] })).answer("m", &tensors).unwrap();
        assert!(plain.headers().get(HEAD_BYTES).is_none());
        let some =
            json!({ "inputs": [], "outputs": [{ "name": "x", "parameters": { "binary_data": true } }] });
        let bytes = ask(some).answer("m", &tensors).unwrap();
        assert_eq!(bytes.headers()[header::CONTENT_TYPE], BARE);
        let other = json!({ "inputs": [], "outputs": [{ "name": "y" }] });
        assert!(format!("{:?}", ask(other).answer("m", &tensors).unwrap_err()).contains("some of x, n"));
    }
}
