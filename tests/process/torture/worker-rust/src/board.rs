//! The board that driver and workers share (`../../slots.h`), and what blocks hold
//! (`../../../content.h`).

use std::fs::OpenOptions;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

pub const KEYS: u64 = 400;
pub const PART_BYTES: usize = 16384;
pub const MOST: usize = 262_144;
pub const SIZES: [usize; 4] = [256, 4096, 40000, MOST];

/// Words of the board.
pub const STOP: usize = 0;
pub const FLOOR: usize = 1;
pub const NODE: usize = 2;
pub const PAUSE: usize = 3;

/// Words of a slot.
#[derive(Clone, Copy)]
pub enum Count {
    Stamps,
    Beat,
    Starts,
    Hits,
    Misses,
    Saves,
    Refused,
    Unreachable,
    Fenced,
    Odd,
    Wrong,
    Copying,
}

pub struct Board {
    words: &'static [AtomicU64],
    pub slot: usize,
}

impl Board {
    pub fn open(path: &str, slot: usize) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let words = 16 + 16 * 16;
        // SAFETY: a new mapping of the file, which has as many words and stays mapped.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                words * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: aligned to a page, valid for the rest of the process.
        let words = unsafe { std::slice::from_raw_parts(at.cast::<AtomicU64>(), words) };
        Ok(Self { words, slot })
    }

    pub fn get(&self, word: usize) -> u64 {
        self.words[word].load(SeqCst)
    }
    pub fn add(&self, what: Count, by: u64) -> u64 {
        self.words[16 + 16 * self.slot + what as usize].fetch_add(by, SeqCst) + by
    }
    pub fn count(&self, what: Count) -> u64 {
        self.add(what, 1)
    }
    pub fn copying(&self, now: u64) {
        self.words[16 + 16 * self.slot + Count::Copying as usize].store(now, SeqCst);
    }
    pub fn stamp(&self) -> u64 {
        (self.slot as u64 + 1) << 48 | self.count(Count::Stamps)
    }
}

/// A part of a block, and what its reader may hold Weft to.
#[derive(Clone, Copy)]
pub struct Asked {
    pub number: u64,
    pub version: u64,
    pub floor: u64,
    pub part: u16,
    pub size: usize,
}

/// A generator of the seeded dice (`SplitMix64`).
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % bound
    }
}

fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

pub fn key_of(number: u64) -> weft::Key {
    weft::Key {
        hi: mix(number + 1),
        lo: mix(number.wrapping_add(0x9e37_79b9_7f4a_7c15)),
    }
}

fn word(of: &Asked, stamp: u64, at: usize) -> u64 {
    if at == 0 {
        return stamp;
    }
    let seed = mix(stamp ^ mix(of.number ^ mix(of.version ^ mix(u64::from(of.part) + 7))));
    seed ^ (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Writes the part's bytes from `start` on.
pub fn fill(to: &mut [u8], of: &Asked, stamp: u64, start: usize) {
    for (at, chunk) in to.chunks_exact_mut(8).enumerate() {
        chunk.copy_from_slice(&word(of, stamp, start + at * 8).to_le_bytes());
    }
}

/// The stamp of a whole part whose bytes are all right.
pub fn stamp_of(from: &[u8], of: &Asked) -> Option<u64> {
    let read = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().expect("of 8 bytes"));
    let stamp = read(&from[..8]);
    let right = from
        .chunks_exact(8)
        .enumerate()
        .all(|(at, chunk)| read(chunk) == word(of, stamp, at * 8));
    (right && stamp != 0).then_some(stamp)
}
