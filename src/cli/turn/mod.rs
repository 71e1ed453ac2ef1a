//! One turn, seen from a terminal: sent, followed until it is closed, printed. `send` and `chat` share it.

mod asking;
pub mod attach;
mod attention;
pub mod dialog;
pub mod fold;
mod follow;
pub mod print;
mod stored;
mod submit;
mod unserved;

pub use asking::{Asking, Typing, follow_asking, typing, waits};
pub use attention::{Touched, call_for, look_away, looking_at};
pub use follow::{Closed, Watching, follow};
pub use stored::stored_parts;
pub use submit::{How, MAX_MESSAGE_BYTES, Submitted, check, model_name, submit};
pub use unserved::{tell_undone, tell_unserved};
