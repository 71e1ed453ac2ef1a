//! The bridge to one deployment: keeps the link's one socket driven and turns subscriptions into messages for
//! the workers attached to it. What must survive its crash (unanswered calls, streams) lives in the link.

mod actor;
mod attachment;
mod farewell;
mod messages;

pub use actor::{BridgeArgs, ConvexBridge};
pub use messages::{Attach, BridgeMsg};
