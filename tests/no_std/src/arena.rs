//! The global allocator: a pointer that moves through a static array and never back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Bytes there are.
const SIZE: usize = 8 << 20;

/// Memory, aligned as any allocation here may ask.
#[repr(align(4096))]
struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: the memory is only reached through pieces that `alloc` hands out once each, guarded by the atomic `used`.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) };

// SAFETY: `alloc` gives disjoint pieces of static memory, aligned as asked, or null; `dealloc` gives none back.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > align_of::<Self>() {
            return ptr::null_mut();
        }
        let place = |used: usize| {
            let start = used.next_multiple_of(layout.align());
            start.checked_add(layout.size()).filter(|end| *end <= SIZE)
        };
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place) {
            // SAFETY: the piece ends within the array, as `place` checked.
            Ok(before) => unsafe {
                self.memory.get().cast::<u8>().add(before.next_multiple_of(layout.align()))
            },
            Err(_) => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

/// Bytes handed out so far.
pub fn used() -> usize {
    ARENA.used.load(Ordering::Relaxed)
}
