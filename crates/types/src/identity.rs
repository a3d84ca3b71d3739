//! Identity: which inputs are the same event. Pure derivations, no memory.

use uuid::{Uuid, uuid};

/// The namespace of trace ids mapped from producers' spellings.
pub const TRACE_NAMESPACE: Uuid = uuid!("6f72d1c6-8c0f-5f3d-9a55-74726163652e");
