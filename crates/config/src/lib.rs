//! The one configuration: layered load, schema, validation.
