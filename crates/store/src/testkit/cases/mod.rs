//! The cases, by what they are about.

mod clients;
mod computed;
mod define;
mod evolve;
mod imports;
mod keep;
mod keys;
mod latest;
mod lineage;
mod log;
mod orders_accept;
mod orders_read;
mod orders_work;
mod partition;
mod record;
mod remembered;
mod scope;
mod select;
mod stop;
mod sweep;
mod traces;
mod turns;
mod types;
mod values;

use super::Case;

/// Every case.
pub fn cases() -> Vec<Case> {
    [
        define::CASES,
        evolve::CASES,
        keep::CASES,
        partition::CASES,
        record::CASES,
        remembered::CASES,
        values::CASES,
        types::CASES,
        imports::CASES,
        select::CASES,
        computed::CASES,
        latest::CASES,
        scope::CASES,
        stop::CASES,
        keys::CASES,
        clients::CASES,
        traces::CASES,
        lineage::CASES,
        sweep::CASES,
        log::CASES,
        turns::CASES,
        orders_accept::CASES,
        orders_work::CASES,
        orders_read::CASES,
    ]
    .concat()
}

/// The named functions as cases.
macro_rules! case_list {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[$crate::testkit::Case] = &[$($crate::testkit::Case::new(
            stringify!($name),
            |factory| Box::pin(async move { $name(factory).await.map_err(|failed| failed.0) }),
        )),*];
    };
}
use case_list;
