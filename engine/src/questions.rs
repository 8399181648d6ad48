//! Questions that a collection keeps: how widely its vector index must be searched is measured by them, again and again.

use nearline_index::{Metric, VectorSlice};
use nearline_storage::{Decoder, Disk, Encoder, FileHeader, PAGE, StorageError};

use crate::error::WriteError;
use crate::manifest::{read_section, write_section};
use crate::point::Vector;
use crate::schema::VectorConfig;

/// Questions that are kept for the vectors of a name, at most; of more these many are taken at equal distances.
pub const QUESTIONS_MAX: usize = 1_000;
/// Questions that there must be: fewer say nothing of a recall of 0.95, whatever they find.
pub const QUESTIONS_MIN: usize = 60;
/// Neighbours that may be wanted of them: as many as indexes are calibrated for.
pub const QUESTIONS_K_MAX: usize = 100;
/// Bytes of the vectors of all of them, at most: of long vectors fewer are kept, but `QUESTIONS_MIN`.
const BYTES_MAX: usize = 16 << 20;

const KIND: [u8; 4] = *b"QSTN";
const EXTENT_KIND: u16 = 33;

/// What the manifest knows of kept questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuestionsInfo {
    /// The N of their file.
    pub(crate) number: u64,
    /// The place of the vectors' name in the schema.
    pub(crate) at: usize,
    /// How many there are.
    pub(crate) count: u32,
    /// Neighbours wanted of each.
    pub(crate) k: u32,
    /// Bytes of the file.
    pub(crate) bytes: u64,
}

impl QuestionsInfo {
    pub(crate) fn encode(&self, out: &mut Encoder) {
        out.u64(self.number).u32(self.at as u32).u32(self.count).u32(self.k).u64(self.bytes);
    }

    /// `vectors` is the number of names in the schema.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, vectors: usize) -> Result<Self, StorageError> {
        let number = decoder.u64()?;
        let mut within = |what, least: u32, most: u32| {
            let place = decoder.offset();
            let found = decoder.u32()?;
            match (least..=most).contains(&found) {
                true => Ok(found),
                false => Err(decoder.wrong(place, what, found.into(), most.into())),
            }
        };
        let at = match vectors.checked_sub(1) {
            Some(last) => within("name of vectors with questions", 0, last as u32)? as usize,
            None => within("names of vectors with questions", 1, 0)? as usize,
        };
        let count = within("questions of a collection", 1, QUESTIONS_MAX as u32)?;
        let k = within("neighbours wanted of questions", 1, QUESTIONS_K_MAX as u32)?;
        Ok(Self { number, at, count, k, bytes: decoder.u64()? })
    }

    pub(crate) fn file(&self) -> String {
        format!("{PREFIX}{:06}", self.number)
    }

    fn header(&self, store_id: u64) -> FileHeader {
        FileHeader { kind: KIND, file_id: store_id ^ self.number }
    }
}

const PREFIX: &str = "questions.";

/// Whether a file of questions may have this name.
pub(crate) fn is_questions_file(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Vectors to ask with.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Questions {
    pub(crate) config: VectorConfig,
    /// As they are stored, back to back.
    pub(crate) bytes: Vec<u8>,
    /// Neighbours wanted of each.
    pub(crate) k: usize,
}

impl Questions {
    /// Checks questions, and takes as many of them as are kept.
    pub(crate) fn new<V: Into<Vector>>(
        config: &VectorConfig,
        vectors: impl IntoIterator<Item = V>,
        k: usize,
    ) -> Result<Self, WriteError> {
        if !(1..=QUESTIONS_K_MAX).contains(&k) {
            return Err(wrong("k", k.to_string(), format!("1 to {QUESTIONS_K_MAX}")));
        }
        let encoded = |(at, vector): (usize, V)| {
            let refused = |(found, expected)| wrong("question", format!("number {at}: {found}"), expected);
            config.encode(&vector.into()).map_err(refused)
        };
        let all: Vec<Box<[u8]>> = vectors.into_iter().enumerate().map(encoded).collect::<Result<_, _>>()?;
        if all.len() < QUESTIONS_MIN {
            let expected = format!("{QUESTIONS_MIN} or more: fewer say too little of a recall of 0.95");
            return Err(wrong("questions", all.len().to_string(), expected));
        }
        let most = (BYTES_MAX / config.shape().row_bytes()).clamp(QUESTIONS_MIN, QUESTIONS_MAX);
        let count = all.len().min(most);
        let bytes = (0..count).flat_map(|at| all[at * all.len() / count].iter().copied()).collect();
        Ok(Self { config: *config, bytes, k })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() / self.config.shape().row_bytes()
    }

    /// The same as a source of vectors.
    pub(crate) fn source(&self) -> nearline_index::Result<VectorSlice<'_>> {
        VectorSlice::new(self.config.shape(), &self.bytes)
    }

    /// Writes them into a file of their own, durably.
    pub(crate) fn write(
        &self,
        disk: &dyn Disk,
        store_id: u64,
        (number, at): (u64, usize),
    ) -> Result<QuestionsInfo, StorageError> {
        let (count, k) = (self.len() as u32, self.k as u32);
        let info = QuestionsInfo { number, at, count, k, bytes: 0 };
        let bytes = write_section(disk, &info.file(), info.header(store_id), EXTENT_KIND, &self.bytes)?;
        Ok(QuestionsInfo { bytes, ..info })
    }

    /// Reads the questions of a name whose vectors are like `config`.
    pub(crate) fn read(
        disk: &dyn Disk,
        store_id: u64,
        info: &QuestionsInfo,
        config: &VectorConfig,
    ) -> Result<Self, StorageError> {
        read_section(disk, &info.file(), info.header(store_id), EXTENT_KIND, |bytes, path| {
            let expected = config.shape().row_bytes() as u64 * u64::from(info.count);
            if bytes.len() as u64 != expected {
                let what = "bytes of questions";
                return Err(StorageError::corrupt(path, PAGE as u64, what, bytes.len() as u64, expected));
            }
            let zero_allowed = config.metric != Metric::Cosine;
            config
                .shape()
                .check_rows(bytes, 0, zero_allowed, "questions")
                .map_err(|_| StorageError::corrupt(path, PAGE as u64, "numbers that are not finite", 1, 0))?;
            Ok(Self { config: *config, bytes: bytes.to_vec(), k: info.k as usize })
        })
    }
}

/// Refuses questions.
pub(crate) fn wrong(what: &'static str, found: String, expected: String) -> WriteError {
    WriteError::Questions { what, found, expected }
}

#[cfg(test)]
mod tests {
    use nearline_storage::SimDisk;
    use proptest::prelude::*;

    use super::*;

    const CONFIG: fn() -> VectorConfig = || VectorConfig::new(3, Metric::L2);

    fn numbered(count: usize) -> Vec<Vec<f32>> {
        (0..count).map(|at| vec![at as f32, 0.5, -1.0]).collect()
    }

    #[test]
    fn what_is_wrong_with_questions_is_said() {
        let refused =
            |vectors: Vec<Vec<f32>>, k| Questions::new(&CONFIG(), vectors, k).unwrap_err().to_string();
        let mut odd = numbered(100);
        odd[70] = vec![f32::NAN; 3];
        let mut short = numbered(100);
        short[3].pop();
        let cases = [
            (refused(numbered(59), 10), "questions: 59; expected 60 or more"),
            (refused(numbered(100), 0), "k: 0; expected 1 to 100"),
            (refused(numbered(100), 101), "k: 101; expected 1 to 100"),
            (refused(odd, 10), "question: number 70: NaN or an infinity; expected"),
            (refused(short, 10), "question: number 3: 2 elements; expected"),
        ];
        for (found, expected) in cases {
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn damaged_files_of_questions_are_refused_by_name() {
        let disk = SimDisk::new(0);
        let questions = Questions::new(&CONFIG(), numbered(80), 7).unwrap();
        let info = questions.write(&disk, 9, (4, 0)).unwrap();
        assert_eq!(Questions::read(&disk, 9, &info, &CONFIG()).unwrap(), questions);
        assert_eq!(info.bytes, disk.bytes("questions.000004").unwrap().len() as u64);
        let wide = VectorConfig::new(4, Metric::L2);
        let fewer = QuestionsInfo { count: 79, ..info.clone() };
        for (store, info, config) in [(8, &info, CONFIG()), (9, &info, wide), (9, &fewer, CONFIG())] {
            let told = Questions::read(&disk, store, info, &config).unwrap_err().to_string();
            assert!(told.contains("questions.000004"), "{told}");
        }
        let nan = Questions { bytes: [0xff; 12].repeat(60), ..questions };
        let info = nan.write(&disk, 9, (5, 0)).unwrap();
        let told = Questions::read(&disk, 9, &info, &CONFIG()).unwrap_err().to_string();
        assert!(told.contains("questions.000005") && told.contains("not finite"), "{told}");
    }

    proptest! {
        #[test]
        fn a_sample_is_some_of_the_questions_in_order(count in QUESTIONS_MIN..3_000usize) {
            let questions = Questions::new(&CONFIG(), numbered(count), 10).unwrap();
            prop_assert_eq!(questions.len(), count.min(QUESTIONS_MAX));
            let first = |row: &[u8]| f32::from_le_bytes(*row.first_chunk().unwrap());
            let firsts: Vec<f32> = questions.bytes.chunks_exact(12).map(first).collect();
            prop_assert!(firsts.windows(2).all(|two| two[0] < two[1]));
            prop_assert!(firsts.iter().all(|at| (*at as usize) < count));
        }

        #[test]
        fn what_a_manifest_says_of_questions_comes_back_or_is_refused(
            number: u64, at in 0u32..4, count in 0u32..1_100, k in 0u32..120, bytes: u64,
        ) {
            let info = QuestionsInfo { number, at: at as usize, count, k, bytes };
            let mut out = Encoder::new();
            info.encode(&mut out);
            let path = std::path::Path::new("COLLECTION");
            let found = QuestionsInfo::decode(&mut Decoder::new(out.as_bytes(), path, 0), 2);
            let is_right = at < 2 && (1..=1_000).contains(&count) && (1..=100).contains(&k);
            match found {
                Ok(found) => prop_assert!(is_right && found == info),
                Err(error) => prop_assert!(!is_right && error.to_string().contains("COLLECTION"), "{}", error),
            }
        }
    }
}
