//! The root of the tree: owns the configuration, the bridges and the workers, and is the only actor that the
//! outside world talks to, through [`MachineHandle`].

mod spec;

pub use spec::*;
