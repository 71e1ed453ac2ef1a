//! The whole tree over fakes, under paused time: what crashes is replaced, what was promised is kept, and
//! nothing still runs at the end.

mod crashes;
mod fake_agent;
mod fake_deployment;
mod turns;
mod world;
