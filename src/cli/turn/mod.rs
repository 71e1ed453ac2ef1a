//! One turn, seen from a terminal: sent, followed until it is closed, printed. `send` and `chat` share it.

mod attention;
pub mod fold;
mod follow;
pub mod print;
mod stored;
mod submit;
mod unserved;

pub use attention::{call_for, look_away, looking_at};
pub use follow::{Closed, follow};
pub use stored::stored_parts;
pub use submit::{MAX_MESSAGE_BYTES, Submitted, check, model_name, submit};
pub use unserved::tell_unserved;
