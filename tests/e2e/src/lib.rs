//! A harness that starts the real binary on a free port.
