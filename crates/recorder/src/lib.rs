//! Records clients and dataset rows, exactly one row per event.
