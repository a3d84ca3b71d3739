//! What may happen to the file.
