//! What the standard library does not offer: the one file with `unsafe`.
#![allow(unsafe_code)]

#[cfg(all(target_os = "linux", target_env = "gnu"))]
unsafe extern "C" {
    /// `malloc_trim(3)`: takes no pointer and may be called by any thread at any time.
    safe fn malloc_trim(pad: usize) -> i32;
}

/// Gives free memory back to the system. The C library keeps it when a small block in use lies above it; to look for it
/// takes milliseconds where there is much. Nothing on systems without glibc.
pub fn give_back_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _ = malloc_trim(0);
}
