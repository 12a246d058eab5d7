//! Keys: 128 bits that name a block. A prompt's are made of its tokens, as the engines make them;
//! anything else has the key of its content.

use std::ffi::CString;
use std::fmt;
use std::str::FromStr;

use weft_sys as sys;

use crate::error::{check, story, Error, Result};

/// A block's name in its namespace.
///
/// ```
/// let key = weft::Key::of("a name, or a file's content");
/// assert_eq!(key.to_string().parse::<weft::Key>(), Ok(key)); // 32 hex digits
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The first 64 bits: of a digest, the big-endian integer of the first half of its last 16
    /// bytes.
    pub hi: u64,
    /// The last 64 bits.
    pub lo: u64,
}

impl Key {
    /// The key of any bytes: of their SHA-256.
    ///
    /// # Panics
    /// With the feature `dlopen`, where no library can be loaded.
    #[must_use]
    pub fn of(content: impl AsRef<[u8]>) -> Self {
        if let Err(words) = sys::load() {
            panic!("{words}");
        }
        let (content, mut item) = (content.as_ref(), sys::weft_item::default());
        // SAFETY: the slice is content.len() bytes, and item is one.
        let code =
            unsafe { sys::weft_key_of(content.as_ptr(), content.len() as u64, &raw mut item) };
        assert!(code >= 0, "weft_key_of refuses {} bytes: {code}", content.len());
        Self { hi: item.key_hi, lo: item.key_lo }
    }

    pub(crate) fn item(self) -> sys::weft_item {
        sys::weft_item { key_hi: self.hi, key_lo: self.lo, ..Default::default() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.hi, self.lo)
    }
}

impl FromStr for Key {
    type Err = Error;
    fn from_str(digits: &str) -> Result<Self> {
        match u128::from_str_radix(digits, 16) {
            Ok(number) if digits.len() == 32 && !digits.starts_with('+') => Ok(number.into()),
            _ => Err(Error::Invalid(format!("key {digits:?}: expected 32 hex digits"))),
        }
    }
}

impl From<u128> for Key {
    fn from(number: u128) -> Self {
        Self { hi: (number >> 64) as u64, lo: number as u64 }
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Self {
        *key
    }
}

/// The key of the text's UTF-8, see [`Key::of`].
impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::of(name)
    }
}

/// One key or many: what calls on lists take.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a key nor a slice of keys",
    note = "one key is a `Key`, a `&str` or a `u128`; many are `&[Key]`, `&[Key; N]` or `&Vec<Key>`"
)]
pub trait Keys {
    /// Items for the ABI, of these keys in their order.
    fn items(self) -> Vec<sys::weft_item>;
}

impl Keys for &[Key] {
    fn items(self) -> Vec<sys::weft_item> {
        self.iter().map(|key| key.item()).collect()
    }
}

impl<const N: usize> Keys for &[Key; N] {
    fn items(self) -> Vec<sys::weft_item> {
        self[..].items()
    }
}

impl Keys for &Vec<Key> {
    fn items(self) -> Vec<sys::weft_item> {
        self[..].items()
    }
}

#[diagnostic::do_not_recommend]
impl<K: Into<Key>> Keys for K {
    fn items(self) -> Vec<sys::weft_item> {
        vec![self.into().item()]
    }
}

/// The keys of a prompt's full blocks, in order.
///
/// `options` as in `weft.h`: `scheme=vllm-sha256-cbor|sglang`, `seed=`, `lora=`, `salt=`, `start=`,
/// `mm=`; "" is vLLM's scheme. Gives `tokens.len() / block_tokens` keys.
///
/// ```
/// let keys = weft::keys("", &[7; 70], 16)?;
/// assert_eq!(keys.len(), 4);
/// # Ok::<(), weft::Error>(())
/// ```
pub fn keys(options: &str, tokens: &[u32], block_tokens: u32) -> Result<Vec<Key>> {
    make(options, std::ptr::null_mut(), tokens, block_tokens)
}

/// The same, going on from the digest in `chain` (zeros at first), which the last one replaces;
/// `start=` says where `tokens[0]` is in the prompt.
pub fn keys_from(
    chain: &mut [u8; 32],
    options: &str,
    tokens: &[u32],
    block_tokens: u32,
) -> Result<Vec<Key>> {
    make(options, chain.as_mut_ptr(), tokens, block_tokens)
}

fn make(options: &str, chain: *mut u8, tokens: &[u32], block_tokens: u32) -> Result<Vec<Key>> {
    sys::load().map_err(Error::NotSupported)?;
    let count = u32::try_from(tokens.len())
        .map_err(|_| Error::Invalid(format!("{} tokens, at most {}", tokens.len(), u32::MAX)))?;
    let options = c_text(options)?;
    let mut items =
        vec![sys::weft_item::default(); count.checked_div(block_tokens).unwrap_or(0) as usize];
    let mut words = story();
    // SAFETY: every pointer is to as much as the counts say, chain to 32 bytes or null.
    let returned = unsafe {
        sys::weft_keys(
            options.as_ptr(),
            chain,
            tokens.as_ptr(),
            count,
            block_tokens,
            items.as_mut_ptr(),
            items.len() as u32,
            &raw mut words,
        )
    };
    items.truncate(check(returned, &words)? as usize);
    Ok(items.iter().map(|item| Key { hi: item.key_hi, lo: item.key_lo }).collect())
}

/// Text for the ABI. Errors: Invalid, where a NUL is in it.
pub(crate) fn c_text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Invalid(format!("{text:?} has a NUL in it")))
}
