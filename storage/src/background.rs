//! What threads that work in the background are to the scheduler.

/// How much less of a processor than others a thread in the background gets, as `nice` counts it.
const NICE: i32 = 5;

/// From now on this thread, and threads that it starts, give way to others: to queries, above all, where there are more
/// threads than processors. Best effort, and on Linux only: elsewhere it would slow the whole process.
pub fn work_in_background() {
    #[cfg(target_os = "linux")]
    {
        // Without an id it is the calling thread that is meant.
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}
