//! What vectors the points of a collection have.

use std::collections::BTreeMap;

use nearline_index::{DIM_MAX, ElementType, Metric, Shape};
use nearline_storage::{Decoder, Encoder, StorageError};

use crate::error::OpenError;
use crate::point::Vector;

/// Vectors of a point at most.
pub const VECTORS_MAX: usize = 64;
/// Bytes of a vector's name at most.
pub const VECTOR_NAME_BYTES_MAX: usize = 255;

/// What vectors of one name are like.
///
/// ```
/// use nearline::{ElementType, Metric, VectorConfig};
///
/// let config = VectorConfig::new(96, Metric::Cosine).element(ElementType::F16);
/// assert_eq!((config.dim, config.element), (96, ElementType::F16));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct VectorConfig {
    /// Elements of a vector.
    pub dim: usize,
    /// How distances are measured.
    pub metric: Metric,
    /// How elements are stored.
    pub element: ElementType,
}

impl VectorConfig {
    /// Vectors of so many f32.
    pub fn new(dim: usize, metric: Metric) -> Self {
        Self { dim, metric, element: ElementType::F32 }
    }

    /// The same with elements of this type.
    pub fn element(mut self, element: ElementType) -> Self {
        self.element = element;
        self
    }

    pub(crate) fn shape(&self) -> Shape {
        Shape { element: self.element, dim: self.dim }
    }

    /// The stored bytes of a vector, or what is wrong with it and what would be right.
    pub(crate) fn encode(&self, vector: &Vector) -> Result<Box<[u8]>, (String, String)> {
        let expected = || format!("{} x {}, finite", self.element, self.dim);
        if vector.len() != self.dim {
            return Err((format!("{} elements", vector.len()), expected()));
        }
        let bytes = vector.to_bytes(self.element).map_err(|found| (found, expected()))?;
        let zero_allowed = self.metric != Metric::Cosine;
        self.shape().check_rows(&bytes, 0, zero_allowed, "vector").map_err(|_| match zero_allowed {
            true => ("NaN or an infinity".to_owned(), expected()),
            false => {
                ("NaN, an infinity or all zeros".to_owned(), format!("{}, with a direction", expected()))
            }
        })?;
        Ok(bytes.into())
    }
}

/// The vectors of a collection's points, by name. A point may have some of them, or none.
///
/// ```
/// use nearline::{Metric, Schema, VectorConfig};
///
/// let schema = Schema::new()
///     .vector("image", VectorConfig::new(512, Metric::Cosine))
///     .vector("text", VectorConfig::new(384, Metric::InnerProduct));
/// assert_eq!(schema.vectors().count(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    vectors: BTreeMap<String, VectorConfig>,
}

impl Schema {
    /// Points without vectors, until some are added.
    pub fn new() -> Self {
        Self::default()
    }

    /// Points with one vector, whose name is empty: it need not be named anywhere.
    pub fn single(dim: usize, metric: Metric) -> Self {
        Self::new().vector("", VectorConfig::new(dim, metric))
    }

    /// Adds vectors of this name.
    #[must_use]
    pub fn vector(mut self, name: impl Into<String>, config: VectorConfig) -> Self {
        self.vectors.insert(name.into(), config);
        self
    }

    /// All names with what their vectors are like, in order of the names.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = (&str, &VectorConfig)> {
        self.vectors.iter().map(|(name, config)| (name.as_str(), config))
    }

    /// The place of a name among all, and what its vectors are like.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &VectorConfig)> {
        self.vectors()
            .enumerate()
            .find(|(_, (known, _))| *known == name)
            .map(|(at, (_, config))| (at, config))
    }

    pub(crate) fn config(&self, at: usize) -> Option<&VectorConfig> {
        self.vectors.values().nth(at)
    }

    pub(crate) fn len(&self) -> usize {
        self.vectors.len()
    }

    /// The names, to be told what there is.
    pub(crate) fn names(&self) -> String {
        let names: Vec<String> = self.vectors.keys().map(|name| format!("{name:?}")).collect();
        if names.is_empty() { "no vectors, as the schema has none".to_owned() } else { names.join(", ") }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let wrong = |found: String, expected: String| Err(OpenError::Schema { found, expected });
        if self.vectors.len() > VECTORS_MAX {
            return wrong(format!("{} vectors", self.vectors.len()), format!("at most {VECTORS_MAX}"));
        }
        for (name, config) in &self.vectors {
            if name.len() > VECTOR_NAME_BYTES_MAX {
                let expected = format!("at most {VECTOR_NAME_BYTES_MAX}");
                return wrong(format!("a vector's name of {} bytes", name.len()), expected);
            }
            if config.dim == 0 || config.dim > DIM_MAX {
                let expected = format!("1 to {DIM_MAX}");
                return wrong(format!("vector {name:?} with {} elements", config.dim), expected);
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u32(self.vectors.len() as u32);
        for (name, config) in &self.vectors {
            out.str(name).u32(config.dim as u32).u8(config.metric as u8).u8(config.element as u8);
        }
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let at = decoder.offset();
        let count = decoder.u32()? as usize;
        if count > VECTORS_MAX {
            return Err(decoder.wrong(at, "vectors of a schema", count as u64, VECTORS_MAX as u64));
        }
        let mut schema = Self::new();
        for _ in 0..count {
            let name = decoder.str()?.to_owned();
            let at = decoder.offset();
            let dim = decoder.u32()? as usize;
            if dim == 0 || dim > DIM_MAX {
                return Err(decoder.wrong(at, "elements of a vector", dim as u64, DIM_MAX as u64));
            }
            let at = decoder.offset();
            let (metric, element) = (decoder.u8()?, decoder.u8()?);
            let metric = METRICS.into_iter().find(|known| *known as u8 == metric);
            let element = ELEMENTS.into_iter().find(|known| *known as u8 == element);
            let (Some(metric), Some(element)) = (metric, element) else {
                return Err(decoder.wrong(at, "metric or element type of a vector", 255, 0));
            };
            schema = schema.vector(name, VectorConfig { dim, metric, element });
        }
        Ok(schema)
    }
}

// Their places are their numbers in files.
const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::Manhattan];
const ELEMENTS: [ElementType; 4] = [ElementType::F32, ElementType::F16, ElementType::U8, ElementType::I8];
const _: () = assert!(METRICS[3] as u8 == 3 && ELEMENTS[3] as u8 == 3);
