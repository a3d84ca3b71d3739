//! The provisioner over a real store.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod accept;
mod accept_events;
mod accept_kit;
mod catalogue;
mod gates;
mod http_kit;
mod http_orders;
mod http_releases;
mod http_watch;
mod log;
mod openings;
mod plan;
mod process;
mod process_kill;
mod process_rig;
mod process_suite;
mod reconcile;
mod reconcile_dying;
mod reconcile_kill;
mod reconcile_left;
mod reconcile_target;
mod reconcile_turns;
mod reconcile_world;
mod render;
mod teller;
mod teller_left;
