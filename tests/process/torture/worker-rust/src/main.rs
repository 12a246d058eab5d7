//! A reader or a writer in Rust of a torture run: `weft-torture ROLE SOCKET BOARD SLOT SEED`. The
//! steps of `../../worker.cpp`, by the crate; invariants as there.

mod board;
mod steps;

use std::collections::VecDeque;
use std::process::exit;
use std::thread::sleep;
use std::time::Duration;

use board::{Asked, Board, Count, Dice, FLOOR, KEYS, MOST, PART_BYTES, PAUSE, SIZES, STOP};
use weft::Error;

const ANY: &str = "part_bytes=0,write_s=1";
const PARTS: &str = "parts=2,part_bytes=16384,write_s=1,pin_s=30";

pub struct Worker {
    board: Board,
    dice: Dice,
    held: VecDeque<(weft::View<'static>, Asked, u64)>,
    store: weft::Store,
    any: weft::Namespace,
    parts: weft::Namespace,
    memory: Vec<u8>,
}

fn odd(board: &Board, what: &str, error: &Error) {
    if board.count(Count::Odd) <= 20 {
        eprintln!(
            "rust {}: ODD: {what}: {error} ({})",
            board.slot,
            error.name()
        );
    }
}

/// A fault may have taken the node: what needs it is tried again until there is one.
fn patiently<T>(board: &Board, make: impl Fn() -> weft::Result<T>) -> T {
    loop {
        board.count(Count::Beat);
        let error = match make() {
            Ok(value) => return value,
            Err(error) => error,
        };
        if board.get(STOP) != 0 {
            exit(0);
        }
        match &error {
            Error::Peer(_)
            | Error::TimedOut(_)
            | Error::Fenced(_)
            | Error::NoMemory(_)
            | Error::Closed(_) => {}
            _ => odd(board, "open", &error),
        }
        sleep(Duration::from_millis(20));
    }
}

impl Worker {
    fn new(board: Board, socket: &str, seed: u64) -> Self {
        let options = format!("connect={socket},timeout_ms=5000");
        let store = patiently(&board, || weft::Store::open(&options));
        let any = patiently(&board, || store.namespace("torture/any", ANY));
        let parts = patiently(&board, || store.namespace("torture/parts", PARTS));
        board.copying(0);
        board.count(Count::Starts);
        let memory = vec![0; 8 * MOST];
        Self {
            board,
            dice: Dice(seed),
            held: VecDeque::new(),
            store,
            any,
            parts,
            memory,
        }
    }

    fn wrong(&self, what: &str, of: &Asked, seen: &str) -> ! {
        self.board.count(Count::Wrong);
        eprintln!(
            "rust {}: WRONG: {what}: key {} part {} version {} floor {}: {seen}",
            self.board.slot, of.number, of.part, of.version, of.floor
        );
        exit(3)
    }

    fn reopen(&mut self) {
        self.let_go(0);
        self.any = patiently(&self.board, || self.store.namespace("torture/any", ""));
        self.parts = patiently(&self.board, || self.store.namespace("torture/parts", ""));
    }

    /// Counts how a call ended.
    fn told<T>(&mut self, ended: weft::Result<T>, what: &str) -> Option<T> {
        let error = match ended {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        match &error {
            Error::Fenced(_) => {
                self.board.count(Count::Fenced);
                self.reopen();
            }
            Error::Peer(_) | Error::TimedOut(_) => _ = self.board.count(Count::Unreachable),
            Error::Miss(_) => _ = self.board.count(Count::Misses),
            Error::Exists(_) | Error::Held(_) | Error::Quota(_) | Error::NoMemory(_) => {
                self.board.count(Count::Refused);
            }
            Error::Invalid(_) | Error::Closed(_) if what == "end" => {
                self.board.count(Count::Refused);
            }
            _ => odd(&self.board, what, &error),
        }
        None
    }

    fn asked(&mut self, parts: bool) -> Asked {
        let (floor, number) = (self.board.get(FLOOR), self.dice.below(KEYS));
        let space = if parts { &self.parts } else { &self.any };
        let size = if parts {
            PART_BYTES
        } else {
            SIZES[(number % 4) as usize]
        };
        Asked {
            number,
            version: space.info().version,
            floor,
            part: 0,
            size,
        }
    }

    /// The stamp of the part, all of whose bytes are right.
    fn judge(&self, found: &[u8], of: &Asked, what: &str) -> u64 {
        self.board.count(Count::Hits);
        if of.version < of.floor {
            self.wrong(what, of, "older than the floor");
        }
        if found.len() != of.size {
            self.wrong(what, of, &format!("{} bytes", found.len()));
        }
        board::stamp_of(found, of)
            .unwrap_or_else(|| self.wrong(what, of, &format!("begins with {:x?}", &found[..8])))
    }

    fn run(&mut self, steps: &[fn(&mut Self)]) {
        while self.board.get(STOP) == 0 {
            steps[self.dice.below(steps.len() as u64) as usize](self);
            self.board.count(Count::Beat);
            let pause = self.dice.below(self.board.get(PAUSE) + 1);
            sleep(Duration::from_micros(pause));
        }
        self.let_go(0);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, role, socket, board, slot, seed] = &arguments[..] else {
        eprintln!("weft-torture ROLE SOCKET BOARD SLOT SEED");
        exit(2)
    };
    let slot = slot.parse().expect("SLOT is a number");
    let board = Board::open(board, slot).expect("BOARD can be mapped");
    let mut worker = Worker::new(board, socket, seed.parse().expect("SEED is a number"));
    if role == "reader" {
        worker.run(&[
            Worker::view,
            Worker::look,
            Worker::load,
            Worker::load_pinned,
        ]);
    } else {
        worker.run(&[
            Worker::save_list,
            Worker::reserve,
            Worker::reserve,
            Worker::remove,
            Worker::save_parts,
            Worker::save_parts,
            Worker::save,
            Worker::save,
        ]);
    }
}
