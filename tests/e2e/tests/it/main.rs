//! The real binary, from outside: nothing acknowledged is lost, faults are
//! clear, clients are served in turn.

mod asyncapi;
mod behind;
mod broker;
mod broker_faults;
mod cli;
mod consume_sse;
mod consume_ws;
mod consumers;
mod dead;
mod demo;
mod direct;
mod drain;
mod fair;
mod faults;
mod forwards;
mod kill;
mod line;
mod load;
mod mqtt;
mod nats;
mod nats_faults;
mod orders;
mod orders_at_once;
mod orders_cli;
mod orders_killed;
mod orders_story;
mod postgres;
mod postgres_faults;
mod postgres_nodes;
mod readme;
mod replaced;
mod retention;
mod rules;
mod sync;
