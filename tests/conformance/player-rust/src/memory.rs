//! The verbs that work on the player's own memory. Invariant: addresses are the driver's, of memory
//! that it was given here or by the library, and are never checked.

use weft::sys;

use crate::request::{items_text, Request};

/// None: no verb of this file.
pub fn answer(r: &Request) -> Option<String> {
    Some(match r.verb.as_str() {
        "memory" => {
            let made = vec![0u8; r.number("size") as usize].leak(); // kept until the player ends
            format!("address={}", made.as_mut_ptr() as u64)
        }
        "paint" => {
            unsafe { bytes_mut(r) }.fill(r.number("byte") as u8);
            "code=0".into()
        }
        "fill" => fill(r),
        "crc" => format!("crc={}", crc(unsafe { bytes_mut(r) })),
        "items" => {
            let items = r.items();
            let to = r.number("address") as *mut sys::weft_item;
            unsafe { to.copy_from_nonoverlapping(items.as_ptr(), items.len()) };
            format!("count={}", items.len())
        }
        "items_back" => {
            let from = r.number("address") as *const sys::weft_item;
            let items = unsafe { std::slice::from_raw_parts(from, r.number("count") as usize) };
            format!("code=0 items={}", items_text(items))
        }
        _ => return None,
    })
}

unsafe fn bytes_mut(r: &Request) -> &'static mut [u8] {
    match r.number("size") as usize {
        0 => &mut [],
        size => unsafe { std::slice::from_raw_parts_mut(r.number("address") as *mut u8, size) },
    }
}

/// The content of scenarios: see `content()` in world.py.
fn fill(r: &Request) -> String {
    let start = r.number("start");
    let more =
        r.number("key").wrapping_mul(131) + r.number("part") * 61 + r.number("generation") * 29;
    for (at, byte) in (start..).zip(unsafe { bytes_mut(r) }) {
        *byte = at
            .wrapping_mul(7)
            .wrapping_add((at >> 8).wrapping_mul(31))
            .wrapping_add(more) as u8;
    }
    "code=0".into()
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
