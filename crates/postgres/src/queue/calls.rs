//! Calls of the session's functions, and how their answers become outcomes.

use orderwire_queue::Error;
use orderwire_queue::engine::Outcome;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// The functions of `sql/` that are called, with the number of their parameters.
macro_rules! functions {
    ($($name:ident $text:literal $params:literal,)*) => {
        /// One of them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($name,)* }

        impl Function {
            /// All, in the order in which sessions prepare them.
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// What calls it.
            pub(super) fn statement(self) -> String {
                let (name, params): (&str, usize) = match self { $(Self::$name => ($text, $params),)* };
                let params: Vec<_> = (1..=params).map(|number| format!("${number}")).collect();
                format!("SELECT * FROM pg_temp.{name}({})", params.join(", "))
            }
        }
    };
}

functions! {
    Begin "begin_commit" 3,
    End "end_commit" 1,
    Declare "declare_queues" 10,
    Append "append" 19,
    Reject "reject" 12,
    Claim "claim" 10,
    Settle "settle" 9,
    Extend "extend" 7,
    Expire "expire" 3,
    Advance "advance" 3,
    BuryEntry "bury_entry" 5,
    Pause "pause" 2,
    Replay "replay" 3,
    Edit "edit" 7,
    Discard "discard" 4,
    Sweep "sweep" 4,
}

/// A value that is bound.
pub(super) type Param<'a> = Box<dyn ToSql + Send + Sync + 'a>;

/// The outcomes of a commit's operations, filled as answers come in.
pub(super) type Outcomes = [Option<Result<Outcome, Error>>];

/// Reads an answer into the outcomes of the operations that it is of.
pub(super) type Reader<'a> =
    Box<dyn FnOnce(&[Row], &mut Outcomes) -> Result<(), tokio_postgres::Error> + Send + 'a>;

/// A call within a commit.
pub(super) struct Call<'a> {
    pub(super) function: Function,
    pub(super) params: Vec<Param<'a>>,
    pub(super) read: Reader<'a>,
}

/// Boxes parameters.
macro_rules! params {
    ($($param:expr),* $(,)?) => {
        vec![$(Box::new($param) as $crate::queue::calls::Param<'_>),*]
    };
}
pub(super) use params;
