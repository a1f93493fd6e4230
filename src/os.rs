//! Functions that the standard library lacks. The only file with `unsafe`.
#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// `malloc_trim(3)`: takes no pointer; any thread may call it at any time.
    safe fn malloc_trim(pad: usize) -> i32;
    /// `mallopt(3)`: takes no pointer. It is to be called before there are other threads, or its effect on them is late.
    safe fn mallopt(parameter: i32, value: i32) -> i32;
}

/// Returns free memory to the system. The C library keeps it while a small block in use lies above it. The search takes
/// milliseconds if there is much free memory. Does nothing without glibc.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _ = malloc_trim(0);
}

/// Bounds the free memory that the C library keeps at the end of each thread's heap, where [`give_back_memory`] does not
/// look: that end is only cut when it is longer than a threshold, which by default grows to twice the largest block that was
/// ever freed, up to 64 MiB (`M_MMAP_THRESHOLD` in mallopt(3)). Call it before threads are made. Nothing on systems without
/// glibc.
pub fn limit_kept_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Numbers from malloc.h. To set one of them ends the growth of both.
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        let _ = mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        let _ = mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Free bytes at the end of a heap above which they are given back at once.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: i32 = 1 << 20;
/// Bytes of a block from which on it is a mapping of its own, which is given back when it is freed: tables of names and
/// buffers that have grown, nothing that is taken for each message.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: i32 = 256 << 10;
