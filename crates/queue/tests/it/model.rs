//! The reference engine keeps every promise.

use std::sync::Arc;

use orderwire_queue::testkit::ModelPlace;

orderwire_queue::engine_conformance!(Arc::new(ModelPlace::default()));
