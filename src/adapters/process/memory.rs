//! How the C library's allocator gives memory back. Left alone, glibc learns from the first large block that is freed to
//! keep such blocks: after a few frames of 20 MB a deployment that needs 20 MB held more than 100 for good.

/// Blocks of this size are the system's own and go back to it when they are freed.
#[cfg(target_env = "gnu")]
const LARGE: i32 = 1 << 20;

/// Before anything large is allocated.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code)]
pub fn give_large_blocks_back() {
    // SAFETY: both calls set a number of the allocator, under its own lock; one that refuses leaves things as they were.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, LARGE);
    }
}

/// Other allocators need no word for it.
#[cfg(not(target_env = "gnu"))]
pub fn give_large_blocks_back() {}
