//! The process that owns the blocks, and what they hold: as client.cpp makes them. Invariant: every
//! block's key and bytes follow from its index.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

pub struct Node {
    pub address: String,
    child: Child,
}

impl Node {
    /// programs: the folder of `weft_bench_node`. It is ready when this returns.
    pub fn start(programs: &str, memory: &str, count: u64, bytes: usize) -> Self {
        let folder = std::env::temp_dir();
        let address = format!(
            "unix:{}/bench-rust-{}.sock",
            folder.display(),
            std::process::id()
        );
        let mut child = Command::new(format!("{programs}/weft_bench_node"))
            .args([&address, memory, &count.to_string(), &bytes.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("weft_bench_node");
        let mut line = String::new();
        let told = child.stdout.take().expect("its output is a pipe");
        BufReader::new(told)
            .read_line(&mut line)
            .expect("a line of the node");
        assert!(line.starts_with("ready"), "the node did not start");
        Self { address, child }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.stdin.take()); // it ends when its input does
        let status = self.child.wait().expect("the node's end");
        assert!(status.success(), "the node: {status}");
    }
}

fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

pub fn key_of(index: u64) -> weft::Key {
    weft::Key {
        hi: mixed((index * 2).wrapping_add(0x9e37_79b9_7f4a_7c15)),
        lo: mixed((index * 2).wrapping_add(0x9e37_79b9_7f4a_7c16)),
    }
}

pub fn is_block(bytes: &[u8], index: u64) -> bool {
    let first = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words = bytes.chunks(8).zip((0u64..).step_by(8));
    words
        .into_iter()
        .all(|(word, at)| *word == first.wrapping_add(at).to_le_bytes()[..word.len()])
}
