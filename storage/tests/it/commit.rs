//! Group commit: every item gets its own result, in one group or another, whatever the threads' order; by ordinary
//! threads, and by shuttle, which runs the same source in many orders.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use nearline_storage::{Disk, Group, SimDisk, Wal, WalOptions};

/// The source again, on shuttle's locks.
#[expect(unreachable_pub, reason = "the source is a library's")]
#[path = "../../src/commit.rs"]
mod shuttled;

#[test]
fn every_thread_gets_its_own_result() {
    const THREADS: u64 = 8;
    const EACH: u64 = 500;
    let (group, groups, busy) = (Group::new(), AtomicU64::new(0), AtomicBool::new(false));
    let seen = Mutex::new(Vec::new());
    let submit = |item: u64| {
        group.submit(item, |items: Vec<u64>| {
            assert!(!busy.swap(true, Ordering::SeqCst), "one leader at a time");
            groups.fetch_add(1, Ordering::Relaxed);
            seen.lock().unwrap().extend_from_slice(&items);
            busy.store(false, Ordering::SeqCst);
            items.into_iter().map(|item| item * 3).collect()
        })
    };
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let submit = &submit;
            scope.spawn(move || {
                for i in 0..EACH {
                    let item = thread * EACH + i;
                    assert_eq!(submit(item), item * 3);
                }
            });
        }
    });
    let seen = seen.into_inner().unwrap();
    for thread in 0..THREADS {
        let own = seen.iter().copied().filter(|item| item / EACH == thread);
        assert!(own.eq(thread * EACH..(thread + 1) * EACH), "each once, in the order of its thread");
    }
    assert!((1..=THREADS * EACH).contains(&groups.into_inner()));
}

#[test]
fn what_queues_up_behind_a_leader_is_one_group() {
    let (group, at_work, go_on) = (Group::new(), Barrier::new(2), Barrier::new(2));
    let sizes = Mutex::new(Vec::new());
    let lead = |items: Vec<u32>| {
        sizes.lock().unwrap().push(items.len());
        items
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            group.submit(0, |items| {
                at_work.wait();
                go_on.wait();
                lead(items)
            })
        });
        at_work.wait();
        for item in 1..=5 {
            let (group, lead) = (&group, &lead);
            scope.spawn(move || assert_eq!(group.submit(item, lead), item));
        }
        // Their being in the queue cannot be seen; whoever comes late makes another group.
        thread::sleep(std::time::Duration::from_millis(50));
        go_on.wait();
    });
    let sizes = sizes.into_inner().unwrap();
    assert_eq!((sizes[0], sizes.iter().sum::<usize>()), (1, 6));
    assert!(sizes.len() < 6, "{sizes:?}");
}

#[test]
fn a_leader_that_panics_takes_its_group_along_and_nobody_else() {
    let (group, at_work, go_on) = (Group::new(), Barrier::new(2), Barrier::new(2));
    let panicked = AtomicU64::new(0);
    let submit = |item: u32, lead: &dyn Fn(Vec<u32>) -> Vec<u32>| {
        let result = catch_unwind(AssertUnwindSafe(|| group.submit(item, lead)));
        panicked.fetch_add(u64::from(result.is_err()), Ordering::Relaxed);
        result.ok()
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| {
            submit(0, &|items| {
                at_work.wait();
                go_on.wait();
                items
            })
        });
        at_work.wait();
        for item in 1..=3 {
            let submit = &submit;
            scope.spawn(move || submit(item, &|_| panic!("planted")));
        }
        thread::sleep(std::time::Duration::from_millis(50));
        go_on.wait();
        assert_eq!(first.join().unwrap(), Some(0));
    });
    assert_eq!(panicked.load(Ordering::Relaxed), 3);
    assert_eq!(submit(9, &|items| items), Some(9));
    assert_eq!(submit(9, &|_| vec![1, 2]), None, "as many results as items");
    assert_eq!(submit(9, &|items| items), Some(9));
}

#[test]
fn threads_share_the_syncs_of_a_log() {
    let disk = SimDisk::new(0);
    let wal = Wal::open(Arc::new(disk.clone()), 1, WalOptions::default(), 0, &mut |_, _| Ok(())).unwrap();
    let (wal, group) = (Mutex::new(wal), Group::new());
    let write = |bytes: Vec<u8>| {
        group.submit(bytes, |items: Vec<Vec<u8>>| {
            let mut wal = wal.lock().unwrap();
            let lsns: Vec<u64> = items.iter().map(|item| wal.append(&[item]).unwrap()).collect();
            wal.sync().unwrap();
            lsns
        })
    };
    let acked = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (write, acked) = (&write, &acked);
            scope.spawn(move || {
                for i in 0..20_u8 {
                    let bytes = vec![thread, i];
                    let lsn = write(bytes.clone());
                    acked.lock().unwrap().push((lsn, bytes));
                }
            });
        }
    });
    let mut acked = acked.into_inner().unwrap();
    acked.sort();
    disk.crash(7);
    assert!(disk.list().unwrap().contains(&"wal.000001".to_owned()));
    let mut found = Vec::new();
    let mut keep = |lsn, bytes: &[u8]| {
        found.push((lsn, bytes.to_vec()));
        Ok(())
    };
    Wal::open(Arc::new(disk), 1, WalOptions::default(), 0, &mut keep).unwrap();
    assert_eq!(found, acked);
}

/// Runs a few threads in many orders; fails if one of them never ends.
fn in_many_orders(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), 1_000);
    shuttle::check_pct(test, 500, 3);
}

#[test]
fn in_every_order_every_thread_gets_its_own_result() {
    in_many_orders(|| {
        let group = Arc::new(shuttled::Group::new());
        let busy = Arc::new(AtomicBool::new(false));
        let submit = |group: &shuttled::Group<u32, u32>, busy: &AtomicBool, item: u32| {
            let result = group.submit(item, |items| {
                assert!(!busy.swap(true, Ordering::SeqCst), "one leader at a time");
                shuttle::thread::yield_now();
                busy.store(false, Ordering::SeqCst);
                items.into_iter().map(|item| item + 100).collect()
            });
            assert_eq!(result, item + 100);
        };
        let spawn = |item| {
            let (group, busy) = (Arc::clone(&group), Arc::clone(&busy));
            shuttle::thread::spawn(move || {
                submit(&group, &busy, item);
                submit(&group, &busy, item + 10);
            })
        };
        let threads: Vec<_> = (0..3).map(spawn).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn in_every_order_a_panic_hangs_nobody() {
    in_many_orders(|| {
        let group = Arc::new(shuttled::Group::new());
        let spawn = |item: u32| {
            let group = Arc::clone(&group);
            shuttle::thread::spawn(move || {
                let lead = |items: Vec<u32>| {
                    if item == 1 { std::panic::resume_unwind(Box::new("planted")) } else { items }
                };
                catch_unwind(AssertUnwindSafe(|| group.submit(item, lead))).ok()
            })
        };
        let threads: Vec<_> = (0..4).map(spawn).collect();
        for (item, thread) in threads.into_iter().enumerate() {
            let result = thread.join().unwrap();
            assert!(result.is_none_or(|result| result == item as u32));
        }
        assert_eq!(group.submit(7, |items| items), 7);
    });
}

#[test]
fn in_every_order_what_was_acknowledged_is_in_the_log() {
    let seed = Arc::new(AtomicU64::new(0));
    in_many_orders(move || {
        let seed = seed.fetch_add(1, Ordering::Relaxed);
        let disk = SimDisk::new(seed);
        let open = || {
            let mut found = Vec::new();
            let mut keep = |lsn, bytes: &[u8]| {
                found.push((lsn, bytes.to_vec()));
                Ok(())
            };
            let options = WalOptions { segment_bytes: 8192 };
            let wal = Wal::open(Arc::new(disk.clone()), 1, options, 0, &mut keep).unwrap();
            (wal, found)
        };
        // Nobody waits for this lock: there is one leader at a time.
        let wal = Arc::new(Mutex::new(open().0));
        let group = Arc::new(shuttled::Group::new());
        disk.crash_at(disk.operations() + 1 + seed % 40);
        let spawn = |thread: u8| {
            let (wal, group) = (Arc::clone(&wal), Arc::clone(&group));
            shuttle::thread::spawn(move || {
                let lead = |items: Vec<Vec<u8>>| {
                    let mut wal = wal.try_lock().expect("one leader at a time");
                    let lsns: Vec<_> = items.iter().map(|item| wal.append(&[item]).ok()).collect();
                    shuttle::thread::yield_now();
                    let synced = wal.sync().is_ok();
                    lsns.into_iter().map(|lsn| lsn.filter(|_| synced)).collect()
                };
                let items = (0..3).map(|item| vec![thread; 100 + 700 * item]);
                items.filter_map(|item| Some((group.submit(item.clone(), lead)?, item))).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = (0..3).map(spawn).collect();
        let acked: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        drop(wal);
        disk.crash(seed);
        let (_, found) = open();
        assert!(acked.iter().all(|record| found.contains(record)), "seed {seed}");
    });
}
