//! What conformance suites are made of: cases, how one fails, and the faults of broken
//! twins, which keep a suite honest: a case that a twin passes checks nothing. Also what
//! the tests of several crates begin with.

use std::fmt::{self, Debug};
use std::pin::Pin;
use std::sync::Arc;

use crate::{Data, Event, EventId, Origin, TraceId};

/// A plain event that says nothing beyond id, type and client; tests add what they are
/// about. Its trace has the UUID of its id.
///
/// # Panics
/// When these are no type and no client.
pub fn event(id: EventId, event_type: &str, client: &str) -> Event {
    Event {
        id,
        event_type: event_type.parse().expect("an event type"),
        source: "/test".to_owned(),
        client: client.parse().expect("a client"),
        key: None,
        time: None,
        trace: TraceId::from_uuid(id.0),
        attempt: None,
        cause: None,
        depth: 0,
        accepted_at: jiff::Timestamp::from_second(1_767_225_600).expect("2026 begins"),
        principal: "test".to_owned(),
        may_order: false,
        import: None,
        origin: Origin::Plain,
        data: Data::None,
    }
}

/// A case in progress.
pub type Running = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// One promise and how to see that it is kept. `F` makes what the case works on.
pub struct Case<F: ?Sized + 'static> {
    /// What is promised, in words joined by underscores.
    pub name: &'static str,
    run: fn(Arc<F>) -> Running,
}

impl<F: ?Sized> Case<F> {
    /// A case of this name.
    pub const fn new(name: &'static str, run: fn(Arc<F>) -> Running) -> Self {
        Self { name, run }
    }

    /// Runs the case on a factory of its own, which has opened nothing yet.
    pub fn run(&self, factory: Arc<F>) -> Running {
        (self.run)(factory)
    }
}

impl<F: ?Sized> Clone for Case<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F: ?Sized> Copy for Case<F> {}

impl<F: ?Sized> Debug for Case<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Why a case failed.
#[derive(Debug)]
pub struct Failed(pub String);

/// The result of a case, and of a step in it.
pub type Outcome<T = ()> = Result<T, Failed>;

impl From<String> for Failed {
    fn from(message: String) -> Self {
        Self(message)
    }
}

/// Fails unless the two are equal.
///
/// # Errors
/// Both, when they are not.
#[expect(clippy::needless_pass_by_value, reason = "cases compare what they have just made")]
pub fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Failed(format!("{what}: found {found:?}, expected {expected:?}")))
}

/// Fails unless it holds.
///
/// # Errors
/// What does not hold.
pub fn holds(what: &str, condition: bool) -> Outcome {
    if condition { Ok(()) } else { Err(Failed(format!("does not hold: {what}"))) }
}

/// What the twins of a suite do wrong, one each. Made by [`faults!`](crate::faults).
pub trait Faults: Copy + Debug + 'static {
    /// Every fault, the one that is none aside.
    const ALL: &'static [Self];

    /// The names of the cases that have to notice it, each by itself.
    fn noticed_by(self) -> &'static [&'static str];
}

/// Lists faults, each with the cases that have to notice it, as an enum `Fault`.
#[macro_export]
macro_rules! faults {
    ($($(#[doc = $doc:literal])* $fault:ident => $($case:ident)+,)+) => {
        /// What a twin does wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            /// Nothing: shows that a twin is caught for its fault only.
            Nothing,
            $($(#[doc = $doc])* $fault,)+
        }

        impl $crate::testkit::Faults for Fault {
            const ALL: &'static [Self] = &[$(Self::$fault,)+];

            fn noticed_by(self) -> &'static [&'static str] {
                match self {
                    Self::Nothing => &[],
                    $(Self::$fault => &[$(stringify!($case)),+],)+
                }
            }
        }
    };
}

/// Which twins pass a case that has to notice their fault. `twin` makes the factory of one.
///
/// # Panics
/// When a fault names a case that is not there.
pub async fn missed<F: ?Sized, T: Faults>(cases: &[Case<F>], twin: impl Fn(T) -> Arc<F>) -> Vec<String> {
    let mut missed = Vec::new();
    for fault in T::ALL {
        for name in fault.noticed_by() {
            let case = cases.iter().find(|case| case.name == *name).expect("a case of this name");
            if case.run(twin(*fault)).await.is_ok() {
                missed.push(format!("{fault:?} passes {name}"));
            }
        }
    }
    missed
}

/// The cases that no fault names: each may be one that cannot fail.
pub fn idle<F: ?Sized, T: Faults>(cases: &[Case<F>]) -> Vec<&'static str> {
    let is_named = |name| T::ALL.iter().any(|fault| fault.noticed_by().contains(&name));
    cases.iter().map(|case| case.name).filter(|name| !is_named(*name)).collect()
}

/// The cases that fail, each with what is broken. `factory` makes one for each.
pub async fn broken<F: ?Sized>(cases: &[Case<F>], factory: impl Fn() -> Arc<F>) -> Vec<String> {
    let mut broken = Vec::new();
    for case in cases {
        if let Err(why) = case.run(factory()).await {
            broken.push(format!("{}: {why}", case.name));
        }
    }
    broken
}
