//! The same over the real engine.
