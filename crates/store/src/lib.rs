//! The contract of what is stored: datasets, keys, clients, trace records.
