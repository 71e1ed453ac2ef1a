//! What listens: the sync protocol, the HTTP API, identity, the Origin check.
