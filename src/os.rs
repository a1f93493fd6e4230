//! Functions that the standard library lacks. The only file with `unsafe`.
#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// `malloc_trim(3)`: takes no pointer; any thread may call it at any time.
    safe fn malloc_trim(pad: usize) -> i32;
    /// `mallopt(3)`: takes no pointer. Call it before other threads start, or it takes effect on them late.
    safe fn mallopt(parameter: i32, value: i32) -> i32;
}

/// Returns free memory to the system. The C library keeps it while a small block in use lies above it. The search takes
/// milliseconds if there is much free memory. Does nothing without glibc.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _ = malloc_trim(0);
}

/// Limits the free memory that the C library keeps at the end of each thread's heap. [`give_back_memory`] does not trim
/// that end; the library trims it only above a threshold, which by default grows to twice the size of the largest block
/// freed so far, up to 64 MiB (`M_MMAP_THRESHOLD` in mallopt(3)). Call it before threads start. Does nothing without glibc.
pub fn limit_kept_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // Numbers from malloc.h. Setting either one stops both thresholds from growing.
        const M_TRIM_THRESHOLD: i32 = -1;
        const M_MMAP_THRESHOLD: i32 = -3;
        let _ = mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
        let _ = mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    }
}

/// Number of free bytes at the end of a heap above which they are returned to the system immediately.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIM_THRESHOLD: i32 = 1 << 20;
/// Size in bytes from which a block is a separate mapping, which is returned to the system when the block is freed. Tables
/// of names and grown buffers are that large; blocks allocated per message are not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MMAP_THRESHOLD: i32 = 256 << 10;
