//! The scheduler: durable queues over a narrow engine port.
