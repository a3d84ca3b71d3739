//! The runtime that every worker shares: lease, handle, settle, drain.
