//! Replacing a file survives every crash; protocols with a planted bug do not, which proves the harness.

use nearline_storage::{Disk, Result, SimDisk, is_temp_name, replace_file};

const NAME: &str = "MANIFEST";
const SEEDS: u64 = 3000;

type Replace = fn(&dyn Disk, &str, &[u8]) -> Result<()>;

fn content(version: u8) -> Vec<u8> {
    vec![version; 700 + usize::from(version) * 300]
}

/// What a database does at its start: remove leftovers.
fn recover(disk: &SimDisk) -> Result<()> {
    for name in disk.list()?.iter().filter(|name| is_temp_name(name)) {
        disk.remove(name)?;
    }
    disk.sync_dir()
}

/// Writes versions 1, 2, 3, … with the power failing at operations of chance, also during recovery. Returns what
/// is wrong at the end, if anything: neither the last acknowledged version nor the one in doubt.
fn one_history(replace: Replace, seed: u64) -> Result<(), String> {
    let disk = SimDisk::new(seed);
    replace(&disk, NAME, &content(1)).map_err(|error| error.to_string())?;
    let (mut last, mut next) = (1, 2);
    for round in 0..4 {
        let chance = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(round * 0x1234_5677) >> 20;
        disk.crash_at(disk.operations() + 1 + chance % 9);
        while replace(&disk, NAME, &content(next)).is_ok() {
            last = next;
            next += 1;
        }
        // The failing attempt may have got through, acknowledged or not.
        let in_doubt = next;
        next += 1;
        disk.crash(seed ^ (round << 32));
        // Leftovers are removed at some starts and not at others, and the power may fail again meanwhile.
        let cleans = (chance >> 8).is_multiple_of(2);
        if cleans && chance.is_multiple_of(3) {
            disk.crash_at(disk.operations() + 1 + chance % 4);
            let _ = recover(&disk);
            disk.crash(seed ^ (round << 40));
        }
        let found = disk.bytes(NAME).unwrap_or_default();
        let known = [last, in_doubt].into_iter().find(|&version| found == content(version));
        last = known.ok_or_else(|| format!("round {round}: {} bytes, want version {last}", found.len()))?;
        if cleans {
            recover(&disk).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// How many histories go wrong.
fn failures(replace: Replace) -> Vec<(u64, String)> {
    (0..SEEDS).filter_map(|seed| one_history(replace, seed).err().map(|wrong| (seed, wrong))).collect()
}

#[test]
fn a_crash_leaves_the_old_file_or_the_new_one() {
    assert_eq!(failures(replace_file), []);
}

#[test]
fn every_single_operation_may_be_the_last() {
    let clean = SimDisk::new(0);
    replace_file(&clean, NAME, &content(1)).unwrap();
    let before = clean.operations();
    replace_file(&clean, NAME, &content(2)).unwrap();
    let steps = clean.operations() - before;
    assert!(steps >= 5, "create, write, sync, rename, sync the folder");
    for step in 1..=steps {
        for seed in 0..500 {
            let disk = SimDisk::new(seed);
            replace_file(&disk, NAME, &content(1)).unwrap();
            disk.crash_at(disk.operations() + step);
            assert!(replace_file(&disk, NAME, &content(2)).is_err());
            disk.crash(seed);
            let found = disk.bytes(NAME).unwrap();
            assert!(found == content(1) || found == content(2), "step {step}, seed {seed}");
        }
    }
}

#[test]
fn every_single_operation_may_fail() {
    use nearline_storage::{Fault, Faults};
    for fault in [Fault::Io, Fault::NoSpace, Fault::LostSync] {
        for step in 1..=5 {
            let disk = SimDisk::new(step);
            replace_file(&disk, NAME, &content(1)).unwrap();
            disk.set_faults(Faults { at: vec![(disk.operations() + step, fault)], ..Faults::default() });
            assert!(replace_file(&disk, NAME, &content(2)).is_err(), "{fault:?} at step {step}");
            let expected = if step == 5 { content(2) } else { content(1) };
            assert!(disk.bytes(NAME) == Some(expected), "{fault:?} at step {step}");
            assert_eq!(disk.list().unwrap(), [NAME], "the temporary file is gone");
            replace_file(&disk, NAME, &content(3)).unwrap();
        }
    }
}

#[test]
fn planted_no_sync_before_the_rename_is_caught() {
    fn no_sync(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
        let temp = format!("{name}.{}.tmp", bytes.len());
        let _ = disk.remove(&temp);
        disk.create(&temp)?.write_at(0, bytes)?;
        disk.rename(&temp, name)?;
        disk.sync_dir()
    }
    let wrong = failures(no_sync);
    assert!(wrong.len() as u64 > SEEDS / 2, "{} of {SEEDS}", wrong.len());
}

#[test]
fn planted_no_sync_of_the_folder_is_caught() {
    fn no_folder_sync(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
        let temp = format!("{name}.{}.tmp", bytes.len());
        let _ = disk.remove(&temp);
        let file = disk.create(&temp)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        disk.rename(&temp, name)
    }
    let wrong = failures(no_folder_sync);
    assert!(wrong.len() as u64 > SEEDS / 4, "{} of {SEEDS}", wrong.len());
}

#[test]
fn planted_fixed_temporary_name_is_caught() {
    fn fixed_name(disk: &dyn Disk, name: &str, bytes: &[u8]) -> Result<()> {
        let temp = format!("{name}.tmp");
        if disk.list()?.contains(&temp) {
            disk.remove(&temp)?;
        }
        let file = disk.create(&temp)?;
        file.write_at(0, bytes)?;
        file.sync()?;
        disk.rename(&temp, name)?;
        disk.sync_dir()
    }
    let wrong = failures(fixed_name);
    assert!(!wrong.is_empty(), "none of {SEEDS} seeds noticed");
}
