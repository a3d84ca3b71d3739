//! The cases, by what they are about.

mod apply;
mod observe;
mod plan;
mod remove;

use super::Case;

/// Every case.
pub fn cases() -> Vec<Case> {
    [plan::CASES, apply::CASES, observe::CASES, remove::CASES].concat()
}

/// The named functions as cases.
macro_rules! case_list {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[$crate::testkit::Case] = &[$($crate::testkit::Case::new(
            stringify!($name),
            |factory| Box::pin(async move {
                $name($crate::testkit::kit::Kit::open(factory).await.map_err(|failed| failed.0)?)
                    .await
                    .map_err(|failed| failed.0)
            }),
        )),*];
    };
}
use case_list;
