//! Errors: one variant a code of the ABI, with the library's words. A miss is not an error but an
//! answer: `None`, `false` or fewer blocks, with its reason in
//! [`Found::reason`](crate::Found::reason).

use std::ffi::{c_char, CStr};
use std::fmt;

use weft_sys as sys;

/// What calls return.
pub type Result<T> = std::result::Result<T, Error>;

macro_rules! errors {
    ($($variant:ident $number:ident $name:literal $words:literal;)*) => {
        /// A code of the ABI and the library's words.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Error {
            $(#[doc = $words] $variant(String),)*
            /// A code of a newer library.
            Unknown(i32, String),
        }

        impl Error {
            /// The error of `code` (positive); without words the code's own sentence.
            pub(crate) fn new(code: i32, words: impl Into<String>) -> Self {
                let words = words.into();
                let or = |own: &str| if words.is_empty() { own.to_owned() } else { words.clone() };
                match code {
                    $(sys::$number => Self::$variant(or($words)),)*
                    _ => Self::Unknown(code, or("a code that this crate does not know")),
                }
            }
            /// The number of the code, positive: `WEFT_EQUOTA` is 9.
            #[must_use]
            pub fn code(&self) -> i32 {
                match self {
                    $(Self::$variant(_) => sys::$number,)*
                    Self::Unknown(code, _) => *code,
                }
            }
            /// The name of the code: "EQUOTA".
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)*
                    Self::Unknown(..) => "unknown",
                }
            }
            /// The library's words.
            #[must_use]
            pub fn message(&self) -> &str {
                match self {
                    $(Self::$variant(words) => words,)*
                    Self::Unknown(_, words) => words,
                }
            }
        }
    };
}

errors! {
    Invalid WEFT_EINVAL "EINVAL" "An argument, option or field is wrong; the words name it.";
    Miss WEFT_EMISS "EMISS" "The block is not to be had, where there is no other answer.";
    Exists WEFT_EEXISTS "EEXISTS" "The block, or these bytes, are there; `replace` makes it new.";
    Fenced WEFT_EFENCED "EFENCED" "The namespace has advanced past this version: open it anew.";
    Again WEFT_EAGAIN "EAGAIN" "The queue is full: reap, then submit the rest.";
    TimedOut WEFT_ETIMEOUT "ETIMEOUT" "The op's time is over.";
    Peer WEFT_EPEER "EPEER" "The node cannot be reached; the store reconnects by itself.";
    Denied WEFT_EDENIED "EDENIED" "The token does not allow this.";
    Quota WEFT_EQUOTA "EQUOTA" "A quota or a named limit is reached.";
    NoMemory WEFT_ENOMEM "ENOMEM" "The machine gives no memory.";
    Busy WEFT_EBUSY "EBUSY" "Children are open, or ops in flight name it.";
    Closed WEFT_ECLOSED "ECLOSED" "The store, namespace or queue is closed.";
    Forked WEFT_EFORKED "EFORKED" "The store was opened before a fork, in the parent.";
    Corrupt WEFT_ECORRUPT "ECORRUPT" "A checksum did not match: the copy was dropped.";
    Range WEFT_ERANGE "ERANGE" "Beyond the end of the part or of the memory.";
    Internal WEFT_EINTERNAL "EINTERNAL" "A fault of the library.";
    Canceled WEFT_ECANCELED "ECANCELED" "The op was canceled.";
    Held WEFT_EHELD "EHELD" "The block, or its part, is being written; `wait_writer` waits for it.";
    NotSupported WEFT_ENOTSUP "ENOTSUP" "Known, but not in this build, machine or kind of store.";
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}

/// Why a block is not to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissReason {
    /// It never was, or is forgotten.
    Absent,
    /// It made room for others.
    Evicted,
    /// Its time is over.
    Expired,
    /// Only older versions of it are known.
    Fenced,
    /// It is being written, its writer gave up, or parts of it never came.
    Partial,
    /// The node that has it cannot be reached.
    Unreachable,
    /// Not in this host's memory.
    Far,
}

impl MissReason {
    pub(crate) fn of(detail: u32) -> Option<Self> {
        Some(match detail as i32 {
            sys::WEFT_MISS_ABSENT => Self::Absent,
            sys::WEFT_MISS_EVICTED => Self::Evicted,
            sys::WEFT_MISS_EXPIRED => Self::Expired,
            sys::WEFT_MISS_FENCED => Self::Fenced,
            sys::WEFT_MISS_PARTIAL => Self::Partial,
            sys::WEFT_MISS_UNREACHABLE => Self::Unreachable,
            sys::WEFT_MISS_FAR => Self::Far,
            _ => return None,
        })
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

/// A caller-owned `weft_error`, for the calls that take one.
pub(crate) fn story() -> sys::weft_error {
    sys::weft_error { struct_size: size_of::<sys::weft_error>() as u32, ..Default::default() }
}

/// What the call returned, or its error with the words that it left in `story`.
pub(crate) fn check(returned: i32, story: &sys::weft_error) -> Result<i32> {
    if returned >= 0 {
        return Ok(returned);
    }
    Err(Error::new(-returned, text(story.message.as_ptr())))
}

/// The same for calls without a story.
pub(crate) fn plain(returned: i32) -> Result<i32> {
    if returned >= 0 {
        Ok(returned)
    } else {
        Err(Error::new(-returned, ""))
    }
}

/// A copy of a terminated string of the library.
pub(crate) fn text(from: *const c_char) -> String {
    // SAFETY: the library's strings are always terminated, and stay while they are copied.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}
