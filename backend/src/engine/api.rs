//! What a call takes and gives. The server speaks to the engine in these types only.

use serde_json::Value;

/// Who calls, as `ctx.auth.getUserIdentity()` shows it: the verified claims of a JWT. Must hold
/// `tokenIdentifier` ("issuer|subject"), `issuer` and `subject`.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity(pub serde_json::Map<String, Value>);

/// One call of a public function.
#[derive(Clone, Debug)]
pub struct Call {
    /// Canonical: `module:function`, `.js` removed.
    pub path: String,
    /// One object in Convex's JSON encoding (`$integer`, `$float`, `$bytes` inside).
    pub args: Value,
    pub identity: Option<Identity>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionError {
    /// As the official clients print it: `Uncaught Error: …`, with the function's stack.
    pub message: String,
    /// The data of a `ConvexError`, in Convex's JSON encoding.
    pub data: Option<Value>,
}

#[derive(Clone, Debug)]
pub struct QueryOutcome {
    pub result: Result<Value, FunctionError>,
    /// It failed for a reason of ours that may be gone another time, and that no commit will tell of: not an answer.
    /// Damage of the file is one: it stays.
    pub internal: bool,
    pub reads: ReadSet,
    pub log_lines: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct MutationOutcome {
    pub result: Result<Value, FunctionError>,
    /// Empty when nothing was committed (a failure, or a replay).
    pub writes: WriteSet,
    /// The commit's timestamp (nanoseconds); of a replay the original one.
    pub ts: u64,
    pub log_lines: Vec<String>,
    /// Not the function but the disk failed: nothing was kept, and the same call may succeed another time.
    pub storage_failed: bool,
}

/// A client's own name for a mutation: recorded in the same transaction as its writes, so that a re-sent one is
/// answered from the record. Only successes are recorded.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionRequest {
    pub session_id: String,
    pub request_id: u32,
}

/// Ranges of index keys that a query has read. A key is the index's encoded key, prefixed by nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSet {
    pub ranges: Vec<ReadRange>,
}

/// `[from, to)` of one index; `to = None` reads on to the index's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRange {
    /// `table.index`; ids are read through `table.by_id`.
    pub index: std::sync::Arc<str>,
    pub from: Vec<u8>,
    pub to: Option<Vec<u8>>,
}

/// The index keys that a commit has touched: of each changed document its old and its new keys in every index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    pub keys: Vec<(std::sync::Arc<str>, Vec<u8>)>,
}

impl WriteSet {
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}
