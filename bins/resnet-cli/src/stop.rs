//! Signals: Ctrl-C, a request to terminate, a terminal that is gone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::output;

/// The exit code of a program that a signal stopped.
pub const CODE: u8 = 130;

/// A signal ended the work, and everything is saved: exit code 130, and nothing more to say.
#[derive(Debug, thiserror::Error)]
#[error("stopped by a signal")]
pub struct Stopped;

/// The flag of a command that saves what it has before it leaves.
static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Lets SIGINT, SIGTERM and SIGHUP end the program with exit code 130 and without half-written files: at once, or, of a
/// command that [saves](save_and_stop) what it has, when that is done. Those that were ignored when the program was
/// started (`nohup`, a shell's background) stay ignored. A file-size limit becomes an error of the write.
pub fn heed_signals() -> Result<(), ctrlc::Error> {
    #[cfg(unix)]
    let ignored = unix::ignored();
    ctrlc::set_handler(|| match STOP.get() {
        Some(stop) if !stop.swap(true, Ordering::Relaxed) => {
            output::note("stopping after this step and saving; a second signal leaves at once");
        }
        _ => leave(),
    })?;
    #[cfg(unix)]
    unix::ignore(&ignored);
    Ok(())
}

/// Ends the program in the middle of its work.
fn leave() -> ! {
    resnet_files::abandon();
    #[cfg(unix)]
    unix::exit(CODE);
    #[cfg(not(unix))]
    std::process::exit(i32::from(CODE));
}

/// From now on the first signal sets this flag; a second one ends the program at once.
pub fn save_and_stop() -> Arc<AtomicBool> {
    Arc::clone(STOP.get_or_init(Arc::default))
}

/// The end of a command that was stopped: [`Stopped`] where a signal came.
pub fn result() -> anyhow::Result<()> {
    match STOP.get() {
        Some(stop) if stop.load(Ordering::Relaxed) => Err(Stopped.into()),
        _ => Ok(()),
    }
}

#[cfg(unix)]
mod unix {
    use std::mem::MaybeUninit;
    use std::ptr;

    /// The signals among ours that the program was started to ignore.
    pub fn ignored() -> Vec<libc::c_int> {
        let is_ignored = |&signal: &libc::c_int| {
            let mut action = MaybeUninit::<libc::sigaction>::zeroed();
            // SAFETY: with no new action the call only fills the old one, of which all zeros is a valid value too.
            let action = unsafe {
                libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
                action.assume_init()
            };
            action.sa_sigaction == libc::SIG_IGN
        };
        [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().filter(is_ignored).collect()
    }

    /// Ends the process without what it would do at its end, while other threads are at work.
    pub fn exit(code: u8) -> ! {
        // SAFETY: results are flushed line by line; nothing else is to be done.
        unsafe { libc::_exit(libc::c_int::from(code)) }
    }

    /// Ignores these, and SIGXFSZ: a write beyond the limit of a file's size fails then, where it would kill.
    pub fn ignore(signals: &[libc::c_int]) {
        for &signal in signals.iter().chain(&[libc::SIGXFSZ]) {
            // SAFETY: no handler of ours is involved; the signals exist.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
    }
}
