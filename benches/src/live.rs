//! What the examples about collections that change have in common: vectors from files, recall, latencies under way, and
//! what the process takes.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use nearline::{Collection, Filter, Payload, Point, Query};
use nearline_datasets::RowReader;

/// Points of a call.
pub const BATCH: u64 = 1_000;
/// Neighbours asked for.
pub const K: usize = 10;

/// The next vectors of a file of f32, as many as there are, `count` at most.
///
/// # Errors
/// When the file cannot be read.
pub fn vectors(rows: &mut RowReader, dim: usize, count: u64) -> Result<Vec<Vec<f32>>> {
    let mut out = Vec::with_capacity(count as usize);
    let mut row = vec![0u8; dim * 4];
    while (out.len() as u64) < count && rows.read(&mut row)? > 0 {
        out.push(row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
    }
    Ok(out)
}

/// Writes points of these ids with the next vectors of a file, in one call. Each has a number from 0 to 9,999 in its
/// payload, `n`, in no order that has to do with the vectors.
///
/// # Errors
/// When the file cannot be read or has too few vectors, or the collection refuses.
pub fn upsert(points: &Collection, ids: &[u64], rows: &mut RowReader, dim: usize) -> Result<()> {
    let vectors = vectors(rows, dim, ids.len() as u64)?;
    anyhow::ensure!(vectors.len() == ids.len(), "the file has too few vectors");
    let payload = |id: u64| Payload::new().with("n", (id * 7_919) % 10_000);
    points.upsert(
        ids.iter().zip(vectors).map(|(&id, vector)| Point::new(id).vector(vector).payload(payload(id))),
    )?;
    Ok(())
}

/// Does something while another thread asks one query after another: the seconds it took, and the latencies in
/// microseconds, ascending.
///
/// # Errors
/// Those of the work and of the queries.
///
/// # Panics
/// When asking does.
pub fn while_asking(
    points: &Collection,
    queries: &[Vec<f32>],
    work: impl FnOnce() -> Result<()>,
) -> Result<(f64, Vec<f64>)> {
    let (done, latency) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let started = Instant::now();
    let seconds = std::thread::scope(|scope| -> Result<f64> {
        let asking = scope.spawn(|| -> Result<()> {
            for query in queries.iter().cycle() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let report = points.query(&Query::nearest(query.clone()).k(K))?.report;
                latency.lock().expect("no thread panics").push(report.total_us);
            }
            Ok(())
        });
        let worked = work();
        let seconds = started.elapsed().as_secs_f64();
        done.store(true, Ordering::Relaxed);
        asking.join().expect("no panic")?;
        worked.map(|()| seconds)
    })?;
    let mut latency = latency.into_inner()?;
    latency.sort_by(f64::total_cmp);
    Ok((seconds, latency))
}

/// The recall by exact answers of the same collection.
///
/// # Errors
/// When a query cannot be answered, or finds fewer points than there are.
pub fn recall(points: &Collection, queries: &[Vec<f32>], filter: Option<&Filter>) -> Result<f64> {
    let (mut found, mut wanted) = (0, 0);
    for query in queries {
        let mut query = Query::nearest(query.clone()).k(K);
        if let Some(filter) = filter {
            query = query.filter(filter.clone());
        }
        let (fast, exact) = (points.query(&query)?, points.query(&query.clone().target_recall(1.0))?);
        wanted += exact.hits.len();
        found += fast.hits.iter().filter(|hit| exact.hits.iter().any(|right| right.id == hit.id)).count();
        anyhow::ensure!(fast.hits.len() == exact.hits.len(), "{} of {}", fast.hits.len(), exact.hits.len());
    }
    Ok(if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 })
}

/// What this process takes of memory, and has taken at most since it began or since [`forget_peak`], in bytes.
///
/// # Errors
/// Where the system does not say.
pub fn rss_bytes() -> Result<(u64, u64)> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    Ok((number_after(&status, "VmRSS:")? << 10, number_after(&status, "VmHWM:")? << 10))
}

/// From now on the peak is counted anew, where the system lets us.
pub fn forget_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Bytes that this process has had written to disk so far.
///
/// # Errors
/// Where the system does not say.
pub fn written_bytes() -> Result<u64> {
    number_after(&std::fs::read_to_string("/proc/self/io")?, "\nwrite_bytes:")
}

/// Bytes of all files in a folder.
///
/// # Errors
/// When it cannot be read.
pub fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        // A file that was listed may be gone by now.
        let Ok(about) = entry.metadata() else { continue };
        bytes += if about.is_dir() { folder_bytes(&entry.path())? } else { about.len() };
    }
    Ok(bytes)
}

fn number_after(text: &str, name: &str) -> Result<u64> {
    let rest = text.split_once(name).map(|(_, rest)| rest.trim_start());
    let number = rest.and_then(|rest| rest.split_whitespace().next()).context("no such figure")?;
    Ok(number.parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_by_their_names() {
        let text = "wchar: 7\nwrite_bytes: 4096\ncancelled_write_bytes: 12\n";
        assert_eq!(number_after(text, "\nwrite_bytes:").unwrap(), 4096);
        assert!(number_after(text, "read_bytes:").is_err());
        let (now, peak) = rss_bytes().unwrap();
        assert!(0 < now && now <= peak);
    }

    #[test]
    fn folders_are_added_up_with_what_lies_below_them() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("below")).unwrap();
        std::fs::write(folder.path().join("a"), [0; 10]).unwrap();
        std::fs::write(folder.path().join("below/b"), [0; 5]).unwrap();
        assert_eq!(folder_bytes(folder.path()).unwrap(), 15);
    }
}
