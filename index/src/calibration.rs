//! The calibration table: which settings reach which recall, and which lists are probed most.

use nearline_storage::{
    BlobReader, Decoder, Encoder, ExtentFile, ExtentFileWriter, ExtentHeader, PAGE, ReadRange, StorageError,
    write_blob,
};

use crate::error::Result;
use crate::tree::blob_bytes;

const EXTENT_KIND: u16 = 7;
const HEAT_KIND: u16 = 15;

/// The `k` that are calibrated.
pub const CALIBRATED_K: [u32; 3] = [1, 10, 100];
/// The targets of recall that are calibrated.
pub const CALIBRATED_TARGETS: [f32; 6] = [0.80, 0.90, 0.95, 0.98, 0.99, 0.995];

/// What of the posting lists an open index holds in RAM. It decides what a probe costs, and so how best to search.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Residency {
    /// Lists are read from the disk, but for those most often probed, which are held whole.
    Lists,
    /// The signs of all primaries are held, and for the lists most often probed all of their bits; what these leave
    /// undecided is read from the file of rows.
    Signs,
    /// All bits of all primaries are held.
    Codes,
}

impl Residency {
    /// All of them, the leanest first.
    pub const ALL: [Self; 3] = [Self::Lists, Self::Signs, Self::Codes];

    /// The name: `lists`, `signs` or `codes`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lists => "lists",
            Self::Signs => "signs",
            Self::Codes => "codes",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Lists => 0,
            Self::Signs => 1,
            Self::Codes => 2,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|residency| residency.code() == code)
    }
}

/// How to reach a recall@k, and what it costs, as measured on the calibration queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// What is held in RAM.
    pub residency: Residency,
    /// Neighbours asked for.
    pub k: u32,
    /// The recall this setting is for.
    pub target: f32,
    /// Lists probed at most.
    pub nprobe: u32,
    /// Probing stops when the estimated recall is as high as this; above 1, never.
    pub stop: f32,
    /// Lists that are in flight ahead of the one that is scored, at first.
    pub ahead: u32,
    /// Nodes of the router that are looked into.
    pub breadth: u32,
    /// Candidates kept for reranking.
    pub depth: u32,
    /// Candidates are reranked when their place is undecided within so many times the estimates' error; 0: never.
    pub rerank: f32,
    /// Mean recall reached.
    pub recall: f32,
    /// Mean lists probed.
    pub lists: f32,
    /// Mean reads for reranking.
    pub reranked: f32,
    /// Mean bytes read, if no list is held whole.
    pub bytes: f32,
    /// What the reads cost a disk, in microseconds, on average.
    pub disk_us: f32,
    /// The share of the nearest `nprobe` lists, by an exact scan, that are in the nodes the router looks into. What its
    /// scan by signs loses of them is not in it.
    pub router_recall: f32,
}

/// How broadly to route when a number of lists is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouterSetting {
    /// Lists wanted.
    pub nprobe: u32,
    /// Nodes to look into.
    pub breadth: u32,
    /// The share of the nearest lists, by an exact scan, that are in these nodes.
    pub recall: f32,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// Queries it was measured with.
    pub queries: u32,
    /// Whether those came from a file of queries; rows of the data otherwise.
    pub from_queries: bool,
    /// Dimensions the data has where queries look: those of the balls by which recall is estimated.
    pub dimension: f32,
    /// One for each residency, `k` and target, in that order, targets ascending.
    pub settings: Vec<Setting>,
    /// Ascending by `nprobe`.
    pub router: Vec<RouterSetting>,
    /// How often each list was probed.
    pub(crate) heat: Vec<u32>,
}

impl Calibration {
    /// The setting for a recall@k: the next larger `k` and target there is, or `None` when no setting short of comparing
    /// everything is known to reach it.
    ///
    /// A `k` above the largest calibrated one probes more lists in proportion.
    pub fn setting(&self, residency: Residency, k: usize, target: f32) -> Option<Setting> {
        let settings = || self.settings.iter().filter(|setting| setting.residency == residency);
        let largest = settings().map(|setting| setting.k).max()?;
        let wanted = u32::try_from(k).unwrap_or(u32::MAX);
        let near_k = settings().map(|setting| setting.k).filter(|&k| k >= wanted).min();
        let calibrated_k = near_k.unwrap_or(largest);
        let mut setting = *settings()
            .filter(|setting| setting.k == calibrated_k && setting.target >= target)
            .min_by(|a, b| a.target.total_cmp(&b.target))?;
        if wanted > largest {
            let factor = f64::from(wanted) / f64::from(largest);
            let scale = |n: u32| (f64::from(n) * factor).min(f64::from(u32::MAX)) as u32;
            setting.nprobe = scale(setting.nprobe);
            setting.depth = scale(setting.depth);
            setting.breadth = self.breadth(setting.nprobe as usize).unwrap_or(u32::MAX);
            setting.stop = f32::INFINITY;
        }
        Some(setting)
    }

    /// How broadly to route for so many lists; `None` means everywhere.
    pub fn breadth(&self, nprobe: usize) -> Option<u32> {
        let setting = self.router.iter().find(|setting| setting.nprobe as usize >= nprobe)?;
        Some(setting.breadth)
    }

    /// Writes the table as one extent, and how often each list was probed as a blob.
    pub(crate) fn write(&self, writer: &mut ExtentFileWriter) -> Result<()> {
        let mut out = Encoder::new();
        out.u32(self.queries).u8(u8::from(self.from_queries)).f32(self.dimension);
        out.u32(self.settings.len() as u32);
        for s in &self.settings {
            out.u8(s.residency.code())
                .u32(s.k)
                .f32(s.target)
                .u32(s.nprobe)
                .f32(s.stop)
                .u32(s.ahead)
                .u32(s.breadth);
            out.u32(s.depth).f32(s.rerank).f32(s.recall).f32(s.lists).f32(s.reranked).f32(s.bytes);
            out.f32(s.disk_us).f32(s.router_recall);
        }
        out.u32(self.router.len() as u32);
        for s in &self.router {
            out.u32(s.nprobe).u32(s.breadth).f32(s.recall);
        }
        let count = self.settings.len() as u32;
        let header = ExtentHeader { kind: EXTENT_KIND, codec: 0, owner: 0, count };
        writer.append(&header, &[out.as_bytes()])?;
        write_blob(writer, HEAT_KIND, bytemuck::cast_slice(&self.heat))?;
        Ok(())
    }

    /// Reads the table of an index with so many lists.
    pub(crate) fn read(file: &ExtentFile, lists: usize) -> Result<Self> {
        let body = file.len().saturating_sub(PAGE as u64) as usize;
        let heat = blob_bytes(lists.saturating_mul(4));
        let range = ReadRange { offset: PAGE as u64, bytes: body.saturating_sub(heat) };
        let mut bytes = Vec::new();
        let extent = file.read_extent(range, &mut bytes)?;
        let mut body = Decoder::new(extent.plane(0), file.file().path(), PAGE as u64);
        let mut table = Self::decode(&mut body)?;
        body.finish()?;
        let rest = ReadRange { offset: range.end(), bytes: heat };
        table.heat = vec![0; lists];
        let mut blob = BlobReader::new(file, HEAT_KIND, rest)?;
        blob.read(bytemuck::cast_slice_mut(&mut table.heat))?;
        blob.finish()?;
        Ok(table)
    }

    /// All lists, the most often probed first.
    pub(crate) fn hottest(&self) -> Vec<u32> {
        let mut lists: Vec<u32> = (0..self.heat.len() as u32).collect();
        lists.sort_by_key(|&list| std::cmp::Reverse(self.heat[list as usize]));
        lists
    }

    /// The share of all probes that the `hot` hottest lists get.
    pub(crate) fn share_of(&self, hottest: &[u32], hot: usize) -> f64 {
        let sum = |lists: &[u32]| lists.iter().map(|&list| u64::from(self.heat[list as usize])).sum::<u64>();
        let all = sum(hottest);
        if all == 0 {
            hot as f64 / hottest.len().max(1) as f64
        } else {
            sum(&hottest[..hot]) as f64 / all as f64
        }
    }

    fn decode(body: &mut Decoder<'_>) -> Result<Self, StorageError> {
        let mut table = Self {
            queries: body.u32()?,
            from_queries: body.u8()? != 0,
            dimension: body.f32()?,
            ..Self::default()
        };
        for _ in 0..body.u32()? {
            let offset = body.offset();
            let code = body.u8()?;
            let residency = Residency::from_code(code)
                .ok_or_else(|| body.wrong(offset, "residency of a setting", u64::from(code), 2))?;
            table.settings.push(Setting {
                residency,
                k: body.u32()?,
                target: body.f32()?,
                nprobe: body.u32()?,
                stop: body.f32()?,
                ahead: body.u32()?,
                breadth: body.u32()?,
                depth: body.u32()?,
                rerank: body.f32()?,
                recall: body.f32()?,
                lists: body.f32()?,
                reranked: body.f32()?,
                bytes: body.f32()?,
                disk_us: body.f32()?,
                router_recall: body.f32()?,
            });
        }
        for _ in 0..body.u32()? {
            table.router.push(RouterSetting {
                nprobe: body.u32()?,
                breadth: body.u32()?,
                recall: body.f32()?,
            });
        }
        Ok(table)
    }
}
