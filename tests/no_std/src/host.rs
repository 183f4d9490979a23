//! What the program takes of the C library, and where panics end.

use alloc::format;
use core::ffi::{c_int, c_void};
use core::panic::PanicInfo;

#[link(name = "c")]
unsafe extern "C" {
    fn write(descriptor: c_int, bytes: *const c_void, len: usize) -> isize;
    fn _exit(status: c_int) -> !;
}

/// The exit status of a panic, as of programs with the standard library.
const PANICKED: c_int = 101;

/// Prints a text on the standard output, without caring whether anybody reads it.
pub fn print(text: &str) {
    // SAFETY: the pointer and length are those of a live text, which write(2) only reads.
    let _ = unsafe { write(1, text.as_ptr().cast(), text.len()) };
}

#[panic_handler]
fn on_panic(panic: &PanicInfo<'_>) -> ! {
    print(&format!("{panic}\n"));
    // SAFETY: _exit(2) takes any status and does not return.
    unsafe { _exit(PANICKED) }
}

/// The prebuilt `alloc` crate was compiled for unwinding and names this function; with `panic = "abort"` nobody calls it.
// SAFETY: no other object of the program defines the symbol.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() -> ! {
    unwound()
}

/// Named by the prebuilt `alloc` for the same reason.
// SAFETY: no other object of the program defines the symbol.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    unwound()
}

fn unwound() -> ! {
    print("unwinding without an unwinder\n");
    // SAFETY: _exit(2) takes any status and does not return.
    unsafe { _exit(PANICKED) }
}
