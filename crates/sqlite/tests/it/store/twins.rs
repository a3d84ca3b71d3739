//! Broken twins.
