//! The registers from which a stack is unwound, by architecture.

#[cfg(target_arch = "aarch64")]
pub(crate) use self::aarch64::*;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86_64::*;

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};

    pub(crate) type Unwinder = UnwinderX86_64<Vec<u8>>;
    pub(crate) type Cache = CacheX86_64;
    pub(crate) type Registers = UnwindRegsX86_64;

    /// Of `enum perf_event_x86_regs`: BP, SP, IP. They come in this order.
    pub(crate) const MASK: u64 = 1 << 6 | 1 << 7 | 1 << 8;

    /// Where it is, where its stack is, and all that unwinding needs.
    pub(crate) fn take(values: &[u64]) -> Option<(u64, u64, Registers)> {
        let [frame, stack, at] = *values else { return None };
        Some((at, stack, UnwindRegsX86_64::new(at, stack, frame)))
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use framehop::aarch64::{CacheAarch64, UnwindRegsAarch64, UnwinderAarch64};

    pub(crate) type Unwinder = UnwinderAarch64<Vec<u8>>;
    pub(crate) type Cache = CacheAarch64;
    pub(crate) type Registers = UnwindRegsAarch64;

    /// Of `enum perf_event_arm_regs`: X29, LR, SP, PC. They come in this order.
    pub(crate) const MASK: u64 = 1 << 29 | 1 << 30 | 1 << 31 | 1 << 32;

    /// Where it is, where its stack is, and all that unwinding needs.
    pub(crate) fn take(values: &[u64]) -> Option<(u64, u64, Registers)> {
        let [frame, link, stack, at] = *values else { return None };
        Some((at, stack, UnwindRegsAarch64::new(link, stack, frame)))
    }
}
