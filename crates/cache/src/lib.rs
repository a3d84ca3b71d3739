//! The cache contract and the in-process cache.
