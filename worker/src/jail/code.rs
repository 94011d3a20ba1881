//! Which memory can be run as code.

use std::io;

use super::Profile;

/// Memory is executable from the start or never, and none is both writable and executable. Linux
/// 6.3. A second wall behind the system calls that are left.
pub(super) fn no_writable(profile: &Profile) -> io::Result<bool> {
    if profile.executable_memory {
        return Ok(false);
    }
    // An error means that this kernel lacks it.
    Ok(control(libc::PR_SET_MDWE, u64::from(libc::PR_MDWE_REFUSE_EXEC_GAIN)) == 0)
}

pub(super) fn is_not_writable(_: &Profile) -> bool {
    let refuses = i32::try_from(libc::PR_MDWE_REFUSE_EXEC_GAIN).unwrap_or(0);
    let flags = control(libc::PR_GET_MDWE, 0);
    0 < flags && flags & refuses != 0
}

#[expect(unsafe_code, reason = "no safe function knows this `prctl`")]
fn control(option: i32, value: u64) -> i32 {
    // SAFETY: both options take a number and none take a pointer.
    unsafe { libc::prctl(option, value, 0_u64, 0_u64, 0_u64) }
}
