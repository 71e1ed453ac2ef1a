//! Time, as the tree may see it. Each rule says which clock it means: idle timers and guards monotonic,
//! leases and deadlines BOOTTIME, item timestamps wall clock.

/// Readings in milliseconds.
pub trait Clock: Send + Sync + 'static {
    /// Never goes back, stands still while the machine sleeps.
    fn monotonic_ms(&self) -> u64;
    /// Never goes back, runs on while the machine sleeps.
    fn boottime_ms(&self) -> u64;
    /// Since the Unix epoch; may jump.
    fn wall_ms(&self) -> u64;
}
