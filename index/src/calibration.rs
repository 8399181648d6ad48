//! The calibration table: which settings reach which recall.

use nearline_storage::{Decoder, Encoder, ExtentFile, ExtentFileWriter, ExtentHeader, PAGE, ReadRange};

use crate::error::Result;

const EXTENT_KIND: u16 = 7;

/// The `k` that are calibrated.
pub const CALIBRATED_K: [u32; 3] = [1, 10, 100];
/// The targets of recall that are calibrated.
pub const CALIBRATED_TARGETS: [f32; 6] = [0.80, 0.90, 0.95, 0.98, 0.99, 0.995];

/// How to reach a recall@k, and what it costs, as measured on the calibration queries.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// Neighbours asked for.
    pub k: u32,
    /// The recall this setting is for.
    pub target: f32,
    /// Lists probed at most.
    pub nprobe: u32,
    /// Lists farther than the nearest one by more than this factor are not probed.
    pub ratio: f32,
    /// Nodes of the router that are looked into.
    pub breadth: u32,
    /// Mean recall reached.
    pub recall: f32,
    /// Mean lists probed.
    pub lists: f32,
    /// Mean bytes read.
    pub bytes: f32,
    /// The share of the nearest `nprobe` lists, by an exact scan, that the router finds.
    pub router_recall: f32,
}

/// How broadly to route when a number of lists is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouterSetting {
    /// Lists wanted.
    pub nprobe: u32,
    /// Nodes to look into.
    pub breadth: u32,
    /// The share of the nearest lists, by an exact scan, that are found.
    pub recall: f32,
}

/// The whole table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Calibration {
    /// Queries it was measured with.
    pub queries: u32,
    /// Whether those came from a file of queries; rows of the data otherwise.
    pub from_queries: bool,
    /// One for each `k` and target, in that order, targets ascending.
    pub settings: Vec<Setting>,
    /// Ascending by `nprobe`.
    pub router: Vec<RouterSetting>,
}

impl Calibration {
    /// The setting for a recall@k: the next larger `k` and target there is, or `None` when every list is needed.
    ///
    /// A `k` above the largest calibrated one probes more lists in proportion.
    pub fn setting(&self, k: usize, target: f32) -> Option<Setting> {
        let largest = self.settings.iter().map(|setting| setting.k).max()?;
        let wanted = u32::try_from(k).unwrap_or(u32::MAX);
        let near_k = self.settings.iter().map(|setting| setting.k).filter(|&k| k >= wanted).min();
        let calibrated_k = near_k.unwrap_or(largest);
        let mut setting = *self
            .settings
            .iter()
            .filter(|setting| setting.k == calibrated_k && setting.target >= target)
            .min_by(|a, b| a.target.total_cmp(&b.target))?;
        if wanted > largest {
            let factor = f64::from(wanted) / f64::from(largest);
            setting.nprobe = (f64::from(setting.nprobe) * factor).min(f64::from(u32::MAX)) as u32;
            setting.ratio = f32::INFINITY;
        }
        Some(setting)
    }

    /// How broadly to route for so many lists; `None` means everywhere.
    pub fn breadth(&self, nprobe: usize) -> Option<u32> {
        let setting = self.router.iter().find(|setting| setting.nprobe as usize >= nprobe)?;
        Some(setting.breadth)
    }

    /// Writes the table as one extent.
    pub(crate) fn write(&self, writer: &mut ExtentFileWriter) -> Result<()> {
        let mut out = Encoder::new();
        out.u32(self.queries).u8(u8::from(self.from_queries)).u32(self.settings.len() as u32);
        for s in &self.settings {
            out.u32(s.k).f32(s.target).u32(s.nprobe).f32(s.ratio).u32(s.breadth);
            out.f32(s.recall).f32(s.lists).f32(s.bytes).f32(s.router_recall);
        }
        out.u32(self.router.len() as u32);
        for s in &self.router {
            out.u32(s.nprobe).u32(s.breadth).f32(s.recall);
        }
        let count = self.settings.len() as u32;
        let header = ExtentHeader { kind: EXTENT_KIND, codec: 0, owner: 0, count };
        writer.append(&header, &[out.as_bytes()])?;
        Ok(())
    }

    /// Reads the table.
    pub(crate) fn read(file: &ExtentFile) -> Result<Self> {
        let range = ReadRange { offset: PAGE as u64, bytes: file.len().saturating_sub(PAGE as u64) as usize };
        let mut bytes = Vec::new();
        let extent = file.read_extent(range, &mut bytes)?;
        let mut body = Decoder::new(extent.plane(0), file.file().path(), PAGE as u64);
        let mut table = Self {
            queries: body.u32()?,
            from_queries: body.u8()? != 0,
            settings: Vec::new(),
            router: Vec::new(),
        };
        for _ in 0..body.u32()? {
            table.settings.push(Setting {
                k: body.u32()?,
                target: body.f32()?,
                nprobe: body.u32()?,
                ratio: body.f32()?,
                breadth: body.u32()?,
                recall: body.f32()?,
                lists: body.f32()?,
                bytes: body.f32()?,
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
        body.finish()?;
        Ok(table)
    }
}
