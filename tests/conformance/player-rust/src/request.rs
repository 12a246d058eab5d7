//! A line of the driver: its verb and words. Invariant: a number that is not said is 0, a text or
//! bytes that are not said are None, and what is no number ends the player.

use weft::sys;

pub struct Request {
    pub verb: String,
    line: String,
}

impl Request {
    pub fn new(line: &str) -> Self {
        let verb = line.split(' ').next().unwrap_or_default().to_owned();
        Self {
            verb,
            line: line.trim_end().to_owned(),
        }
    }

    /// The line without its first word.
    pub fn rest(&self) -> Self {
        Self::new(self.line.split_once(' ').map_or("", |(_, rest)| rest))
    }

    fn find(&self, name: &str) -> Option<&str> {
        let words = self.line.split(' ').skip(1);
        words
            .filter_map(|word| word.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|it| it.1)
    }

    /// Negative ones as the ABI's fields take them.
    pub fn number(&self, name: &str) -> u64 {
        self.find(name).map_or(0, number)
    }

    pub fn numbers(&self, name: &str) -> Vec<u64> {
        self.list(name).map(number).collect()
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        self.find(name)
            .unwrap_or_default()
            .split(',')
            .filter(|word| !word.is_empty())
    }

    pub fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        let digits = self.find(name)?;
        let digits = if digits == "-" { "" } else { digits };
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two hex digits");
        Some((0..digits.len()).step_by(2).map(byte).collect())
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.bytes(name)
            .map(|bytes| String::from_utf8(bytes).expect("UTF-8"))
    }

    pub fn items(&self) -> Vec<sys::weft_item> {
        self.list("items")
            .map(|row| {
                let fields: Vec<u64> = row.split(':').map(number).collect();
                let (key_hi, key_lo, offset) = (fields[0], fields[1], fields[2]);
                sys::weft_item {
                    key_hi,
                    key_lo,
                    offset,
                    size: fields[3] as u32,
                    status: 0,
                }
            })
            .collect()
    }

    pub fn keys(&self) -> Vec<weft::Key> {
        let key = |item: &sys::weft_item| weft::Key {
            hi: item.key_hi,
            lo: item.key_lo,
        };
        self.items().iter().map(key).collect()
    }

    /// `count` ops that differ by their tags.
    pub fn ops(&self) -> Vec<sys::weft_op> {
        let word = |name| self.number(name) as u32;
        let op = sys::weft_op {
            tag: self.number("tag"),
            key_hi: self.number("key_hi"),
            key_lo: self.number("key_lo"),
            offset: self.number("offset"),
            size: word("size"),
            start: word("start"),
            space: word("space"),
            region: word("region"),
            timeout_ms: word("timeout_ms"),
            ttl_s: word("ttl_s"),
            flags: word("flags"),
            kind: self.number("kind") as u16,
            part: self.number("part") as u16,
        };
        (0..self.number("count"))
            .map(|at| sys::weft_op {
                tag: op.tag + at,
                ..op
            })
            .collect()
    }
}

fn number(word: &str) -> u64 {
    let made = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None if word.starts_with('-') => word.parse::<i64>().ok().map(|number| number as u64),
        None => word.parse().ok(),
    };
    made.unwrap_or_else(|| panic!("{word:?} is no number"))
}

pub fn hexed(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn items_text(items: &[sys::weft_item]) -> String {
    let rows: Vec<_> = items
        .iter()
        .map(|i| {
            format!(
                "{}:{}:{}:{}:{}",
                i.key_hi, i.key_lo, i.offset, i.size, i.status
            )
        })
        .collect();
    rows.join(",")
}
