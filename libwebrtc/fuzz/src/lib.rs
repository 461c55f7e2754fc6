//! What all fuzz targets share.

use std::panic::{PanicHookInfo, set_hook};
use std::sync::Once;

pub use libfuzzer_sys;
pub use libwebrtc::fuzzing;

/// A target: one function of `libwebrtc::fuzzing`.
#[macro_export]
macro_rules! target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            $crate::forgive_the_stack();
            $crate::fuzzing::$name(data);
        });
    };
}

/// Lets the stack's own panics pass: `libwebrtc` catches them, and one ends a single peer connection. All others end the run.
pub fn forgive_the_stack() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| set_hook(Box::new(judge)));
}

fn judge(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    if place.contains("/rtc-") || place.contains("/sansio-") {
        eprintln!("the stack panicked at {place}");
        return;
    }
    eprintln!("{panic}");
    std::process::abort();
}
