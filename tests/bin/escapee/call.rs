//! System calls by number.

use std::ffi::{CString, c_long};
use std::io;
use std::path::Path;

/// Makes a system call. What is a pointer must point to memory that lives as long as the call.
pub(crate) fn call<const N: usize>(number: c_long, arguments: [c_long; N]) -> io::Result<()> {
    get(number, arguments).map(drop)
}

/// Like [`call`], and gives what the kernel returned.
pub(crate) fn get<const N: usize>(number: c_long, arguments: [c_long; N]) -> io::Result<c_long> {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    // SAFETY: the kernel checks every argument; what is a pointer points to memory that lives.
    check(unsafe { libc::syscall(number, all[0], all[1], all[2], all[3], all[4], all[5]) })
}

/// The error of a call that returned a negative number.
pub(crate) fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The address of something that lives.
pub(crate) fn at<T: ?Sized>(thing: &T) -> c_long {
    std::ptr::from_ref(thing).cast::<u8>() as c_long
}

/// The address of something that lives, and that the kernel may write.
pub(crate) fn into<T: ?Sized>(thing: &mut T) -> c_long {
    std::ptr::from_mut(thing).cast::<u8>() as c_long
}

/// A path or another text, for the kernel.
pub(crate) fn text(text: impl AsRef<Path>) -> CString {
    CString::new(text.as_ref().to_str().unwrap()).unwrap()
}

/// With this number the kernel says that there is no such thing.
pub(crate) fn or_absent(result: io::Result<()>, number: i32) -> io::Result<()> {
    result.map_err(|error| match error.raw_os_error() {
        Some(own) if own == number => io::Error::from_raw_os_error(libc::ENOENT),
        _ => error,
    })
}

/// Makes a signal that would end the process do nothing.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: no handler runs.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
