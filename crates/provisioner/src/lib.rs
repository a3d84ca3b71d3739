//! Orders become running products.
//!
//! - [`Catalogue`]: what can be ordered, and how it is rendered.
//! - [`Provisioner`]: the one port [`Provisioner::accept`] that every order enters
//!   by, whether over HTTP or as an event of the queue `infra`.
//! - [`Reconciler`]: does the work, driven by the store: one writer per release,
//!   every step journaled before and after, so that it goes on where it was.
//! - [`target`]: the contract of where releases run; [`targets`] fill it.
//! - [`router`]: `/v1/orders`, `/v1/releases`, `/v1/products`.
//!
//! Owner of orders, releases and revisions. Invariants: an order is recorded before
//! it is answered; nothing of an order's values becomes more than a scalar of a
//! manifest; a release is worked on by the holder of its lease alone.

mod accept;
pub mod catalogue;
pub mod content;
pub mod diff;
mod draft;
mod event;
mod handler;
mod http;
mod plan;
pub mod ports;
mod probe;
mod provisioner;
mod reconciler;
pub mod render;
mod request;
pub mod target;
pub mod targets;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use catalogue::Catalogue;
pub use handler::OrderEvents;
pub use http::router;
pub use orderwire_config::Names;
pub use ports::{Publisher, ReleaseKeys};
pub use provisioner::{AcceptError, OrderRequest, Parts, Provisioner};
pub use reconciler::{Reconciler, ReconcilerOptions};
pub use request::requested_action;
pub use target::{Target, Targets};
