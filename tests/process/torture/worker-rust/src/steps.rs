//! The steps of readers and writers.

use std::thread::sleep;
use std::time::{Duration, Instant};

use weft::{Error, Key};

use crate::board::{fill, key_of, Asked, Count, KEYS, MOST, NODE, PART_BYTES, SIZES, STOP};
use crate::Worker;

const HELD: usize = 24;

fn next(of: &Asked, by: u64) -> Asked {
    let number = (of.number + by) % KEYS;
    Asked {
        number,
        size: SIZES[(number % 4) as usize],
        ..*of
    }
}

fn keys(of: &Asked) -> Vec<Key> {
    (0..8).map(|by| key_of(next(of, by).number)).collect()
}

impl Worker {
    pub fn view(&mut self) {
        let of = self.asked(false);
        let fetched = self.any.fetch(key_of(of.number)).run();
        let Some(view) = self.told(fetched, "fetch") else {
            return;
        };
        let Some(view) = view else { return self.miss() };
        let stamp = self.judge(&view, &of, "fetch");
        self.held.push_back((view, of, stamp));
        self.let_go(HELD);
    }

    fn miss(&self) {
        self.board.count(Count::Misses);
    }

    pub fn let_go(&mut self, left: usize) {
        while self.held.len() > left {
            let Some((view, of, stamp)) = self.held.pop_front() else {
                return;
            };
            let of = Asked { floor: 0, ..of }; // a view stands, whatever is fenced meanwhile
            if self.judge(&view, &of, "held view") != stamp {
                self.wrong("held view", &of, "another attempt's bytes");
            }
        }
    }

    pub fn look(&mut self) {
        let of = self.asked(false);
        let looked = self
            .any
            .view_list(&keys(&of), 0)
            .map(weft::Views::into_owned);
        let Some(views) = self.told(looked, "view list") else {
            return;
        };
        for (by, view) in (0..).zip(views.iter()) {
            self.judge(view, &next(&of, by), "view list");
        }
    }

    pub fn load(&mut self) {
        let of = self.asked(false);
        self.memory[..of.size].fill(0xee);
        let loaded = self
            .any
            .load_into(key_of(of.number), &mut self.memory[..MOST])
            .run();
        match self.told(loaded, "load") {
            Some(Some(size)) => {
                self.judge(&self.memory[..size], &of, "load");
            }
            Some(None) => self.miss(),
            None => {}
        }
    }

    /// Both parts of a pinned block: there, each whole, and both of one attempt.
    pub fn load_pinned(&mut self) {
        let mut of = self.asked(true);
        let (node, since) = (self.board.get(NODE), Instant::now());
        let found = self.parts.find(key_of(of.number)).pin().run();
        let Some(found) = self.told(found, "pin") else {
            return;
        };
        if found.blocks == 0 {
            return self.miss();
        }
        let mut first = 0;
        for part in 0..2 {
            of.part = part;
            let loaded = self.parts.load(key_of(of.number)).part(part).run();
            let holds = self.board.get(NODE) == node
                && node % 2 == 0
                && since.elapsed() < Duration::from_secs(20);
            if holds && matches!(loaded, Ok(None)) {
                self.wrong("pinned", &of, "a miss");
            }
            let Some(Some(got)) = self.told(loaded, "load pinned") else {
                return;
            };
            let stamp = self.judge(&got, &of, "load pinned");
            if part == 0 {
                first = stamp;
            } else if stamp != first && holds {
                self.wrong("pinned", &of, "parts of two attempts");
            }
        }
    }

    fn filled(&self, of: &Asked) -> Vec<u8> {
        let mut block = vec![0; of.size];
        fill(&mut block, of, self.board.stamp(), 0);
        block
    }

    pub fn save(&mut self) {
        let of = self.asked(false);
        let mut call = self.any.save(key_of(of.number), self.filled(&of));
        if self.dice.below(8) == 0 {
            call = call.replace();
        }
        if self.dice.below(8) == 0 {
            call = call.ttl_s(1);
        }
        self.board.copying(2);
        let saved = call.run();
        self.board.copying(0);
        if self.told(saved, "save").is_some() {
            self.board.count(Count::Saves);
        }
    }

    pub fn save_list(&mut self) {
        let of = self.asked(false);
        let rows: Vec<_> = (0..8).map(|by| self.filled(&next(&of, by))).collect();
        self.board.copying(2);
        let saved = self.any.save_list(&keys(&of), rows).unchained().run();
        self.board.copying(0);
        if let Some(count) = self.told(saved, "save list") {
            self.board.add(Count::Saves, count as u64);
        }
    }

    pub fn remove(&mut self) {
        let of = self.asked(false);
        let removed = self.any.remove(key_of(of.number)).run();
        self.told(removed, "remove");
    }

    /// In four steps with a pause between them.
    pub fn reserve(&mut self) {
        let of = self.asked(false);
        let mut call = self.any.reserve(key_of(of.number), of.size as u32);
        if self.dice.below(4) == 0 {
            call = call.wait_writer();
        }
        let Some(mut made) = self.told(call.run(), "reserve") else {
            return;
        };
        let (stamp, quarter) = (self.board.stamp(), of.size / 4);
        self.board.copying(1);
        for start in (0..of.size).step_by(quarter) {
            fill(
                &mut made.bytes_mut()[start..start + quarter],
                &of,
                stamp,
                start,
            );
            sleep(Duration::from_micros(self.dice.below(2000)));
        }
        self.board.copying(0);
        let ended = if self.dice.below(8) == 0 {
            made.abort().run()
        } else {
            made.commit().run().map(|_| ())
        };
        if self.told(ended, "end").is_some() {
            self.board.count(Count::Saves);
        }
    }

    /// Part 1 whole, part 0 in two ranges; now and then it is given up in between.
    pub fn save_parts(&mut self) {
        let of = self.asked(true);
        let (key, stamp) = (key_of(of.number), self.board.stamp());
        let half = PART_BYTES / 2;
        for (part, start, size) in [(1, 0, PART_BYTES), (0, half, half), (0, 0, half)] {
            fill(
                &mut self.memory[..size],
                &Asked { part, ..of },
                stamp,
                start,
            );
            self.board.copying(2);
            let data = &self.memory[..size];
            let saved = self
                .parts
                .save(key, data)
                .part(part)
                .start(start as u32)
                .run();
            self.board.copying(0);
            if matches!(saved, Ok(true)) {
                self.board.count(Count::Saves);
                return;
            }
            if self.told(saved, "save part").is_none() || self.dice.below(16) == 0 {
                break;
            }
        }
        self.drop_parts(key);
    }

    /// Until the node has heard it: what this writer saves of the block next would join what is
    /// left of it.
    fn drop_parts(&mut self, key: Key) {
        loop {
            let dropped = self.parts.drop_unfinished(key).run();
            let away = matches!(dropped, Err(Error::Peer(_) | Error::TimedOut(_)));
            self.told(dropped, "end");
            if !away || self.board.get(STOP) != 0 {
                return;
            }
            self.board.count(Count::Beat);
            sleep(Duration::from_millis(1));
        }
    }
}
