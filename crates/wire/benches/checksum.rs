//! Speed of the Internet checksum beside a copy of the same octets.
//!
//! `cargo bench -p rumpnet-wire` prints, per size, gigabytes a second of both and their ratio. A size is
//! repeated in a buffer that it fits into, so that small sizes measure the cache and the largest the memory.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rumpnet_wire::checksum;

/// A header, a segment, a super-frame, more than the second-level cache, more than any cache.
const SIZES: [usize; 6] = [20, 64, 1460, 65536, 4 << 20, 256 << 20];

/// How long one figure is measured; the best of several stands.
const SLICE: Duration = Duration::from_millis(60);
const SLICES: usize = 5;

fn main() {
    println!("{:>10} {:>14} {:>14} {:>7}", "octets", "checksum GB/s", "memcpy GB/s", "ratio");
    for size in SIZES {
        let source: Vec<u8> = (0..size).map(|n| (n * 31 % 251) as u8).collect();
        let mut target = vec![0; size];
        let sum = best(size, || {
            black_box(checksum::of(black_box(&source)));
        });
        let copy = best(size, || black_box(&mut target).copy_from_slice(black_box(&source)));
        println!("{size:>10} {sum:>14.1} {copy:>14.1} {:>7.2}", sum / copy);
    }
}

/// Gigabytes a second of the fastest slice.
fn best(size: usize, mut run: impl FnMut()) -> f64 {
    run();
    (0..SLICES).map(|_| rate(size, &mut run)).fold(0.0, f64::max)
}

/// Gigabytes a second of one slice; the clock is read once per megabyte or call.
fn rate(size: usize, run: &mut impl FnMut()) -> f64 {
    let batch = (1 << 20) / size + 1;
    let (start, mut calls) = (Instant::now(), 0);
    while start.elapsed() < SLICE {
        (0..batch).for_each(|_| run());
        calls += batch;
    }
    (calls * size) as f64 / start.elapsed().as_secs_f64() / 1e9
}
