//! SIGINT and SIGTERM.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::exit::{self, Exit};

/// Set by the first signal.
static REQUESTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From now on the first signal only asks to stop, see [`requested`]; the second one ends the process at once.
pub(crate) fn gently() -> anyhow::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        // in this order: the signal that sets the flag does not see it set
        flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&REQUESTED))?;
        flag::register(signal, Arc::clone(&REQUESTED))?;
    }
    Ok(())
}

/// From now on a signal ends the process at once, for commands that leave nothing behind.
pub(crate) fn at_once() -> anyhow::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, Exit::Interrupted as i32, Arc::clone(&always))?;
    }
    Ok(())
}

/// Whether somebody asked to stop.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::Relaxed)
}

/// Fails if somebody asked to stop.
pub(crate) fn check() -> anyhow::Result<()> {
    if requested() { Err(exit::interrupted()) } else { Ok(()) }
}
