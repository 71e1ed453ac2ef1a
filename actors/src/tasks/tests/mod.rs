//! The loop over fakes: the order of its steps, every failure of every step, and whatever can be called off or killed at
//! every point of it.

mod interruptions;
mod link_queue;
mod steps;
mod world;
