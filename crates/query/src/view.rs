//! Views: cached, shaped reads of one dataset under a path of their own.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use orderwire_cache::Key;
use orderwire_store::{Column, Count, Filter, Nulls, OrderBy, Select};
use orderwire_types::dataset::DatasetDef;
use orderwire_types::{DatasetName, Right, Scope, scope};
use sha2::{Digest, Sha256};

use crate::cached::Freshness;
use crate::dialect::{Allowed, Columns, Field, Item, Named, Query, Term, order_of};
use crate::error::Error;
use crate::http::{Policy, view_fault};
use crate::options::Options;
use crate::params::{Given, ParamDef, bind};
use crate::read::Plan;
use crate::sink::Changes;

/// The first parts of paths that belong to the server itself.
pub const RESERVED_PATHS: [&str; 9] =
    ["v1", "rest", "healthz", "readyz", "metrics", "openapi.json", "asyncapi.json", "docs", "console"];

/// A view as it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ViewDef {
    /// The path under which it is served, for example `/api/v1/measures/air`.
    pub path: String,
    /// The dataset that it reads.
    pub dataset: DatasetName,
    /// The columns that it shows; `None` is all but the hidden ones.
    pub columns: Option<Vec<String>>,
    /// The rows that it shows, as a PostgREST query string: `no2=gt.0&co=lt.9`; `{name}` stands for
    /// the value of a parameter.
    pub filter: Option<String>,
    /// What callers may say beside conditions, by name.
    pub params: Vec<ParamDef>,
    /// Their order, as in PostgREST; by default by the dataset's `time`.
    pub order: Option<String>,
    /// The form of its answer.
    pub shape: Shape,
    /// The most rows of one answer, beside the server's own limit.
    pub limit: Option<u64>,
    /// How old an answer may be.
    pub freshness: Freshness,
    /// The longest that an answer is kept.
    pub ttl: Duration,
    /// Who may read it.
    pub read: Read,
}

/// The form of a view's answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `{"values":[…],"cache": …}`
    #[default]
    Rows,
    /// `{"<key>":{"values":[…]},…,"cache": …}`
    Grouped {
        /// The column whose value groups the rows.
        by: String,
    },
    /// As `Rows`, with the newest row of each value of a column (and each client) alone.
    Latest {
        /// The column.
        by: String,
    },
    /// `{"series":{"<column>":[…],…},"cache": …}`: an array for each column; with a column that
    /// groups the rows, such an object for each of its values.
    Series {
        /// The column whose value groups the rows.
        by: Option<String>,
    },
}

impl Shape {
    /// The column whose value groups the rows.
    pub(crate) fn by(&self) -> Option<&String> {
        match self {
            Self::Rows => None,
            Self::Grouped { by } | Self::Latest { by } => Some(by),
            Self::Series { by } => by.as_ref(),
        }
    }

    /// How many cells stand before those that are shown.
    pub(crate) fn key_cells(&self) -> usize {
        match self {
            Self::Rows | Self::Latest { .. } | Self::Series { by: None } => 0,
            Self::Grouped { .. } | Self::Series { by: Some(_) } => 1,
        }
    }

    /// Whether its answer is a list of rows, which has other forms than JSON.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Rows | Self::Latest { .. })
    }
}

/// Who may read a view.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Read {
    /// Whoever has a key; its scope decides which rows.
    #[default]
    Key,
    /// Anyone, but only rows of these clients.
    Public(scope::Clients),
}

/// A view, read once.
pub(crate) struct View {
    pub(crate) def: ViewDef,
    /// What it is in a scope's objects.
    pub(crate) object: String,
    /// The scope of anyone, when it is public.
    pub(crate) public: Option<Arc<Scope>>,
    /// The key of its answer without parameters.
    pub(crate) key: Key,
    pub(crate) policy: Policy,
    pub(crate) filter: Query,
    order: Vec<Term>,
}

impl View {
    pub(crate) fn new(def: ViewDef, options: &Options) -> Result<Self, Error> {
        if let Some(detail) = path_fault(&def.path) {
            return Err(view_fault(&def.path, &detail));
        }
        let named = |error: Error| view_fault(&def.path, &error.to_string());
        let filter =
            Query::parse(def.filter.as_deref().unwrap_or_default(), options.into(), Allowed::Conditions)
                .map_err(named)?;
        let order = match &def.order {
            Some(text) => order_of(text, options.conditions).map_err(named)?,
            None => Vec::new(),
        };
        let object = format!("dataset/{}", def.dataset);
        let public = match &def.read {
            Read::Key => None,
            Read::Public(clients) => Some(Arc::new(Scope {
                principal: "public".into(),
                clients: clients.clone(),
                rights: [Right::Read].into(),
                objects: Some([object.clone()].into()),
            })),
        };
        // Nodes that share a cache may have different definitions of a path for a while.
        let mark = Sha256::digest(format!("{def:?} {} {}", options.rows, options.answer_bytes));
        let mark: String = mark[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        let key = format!("view2\n{}\n{mark}", def.path).into();
        let policy = policy(&def);
        Ok(Self { object, public, key, policy, filter, order, def })
    }

    /// The read of a caller's query. Columns that group the rows stand before those that are shown.
    pub(crate) fn plan(
        &self,
        dataset: &DatasetDef,
        query: &Query,
        given: &Given,
        rows_max: usize,
    ) -> Result<Plan, Error> {
        let all = Columns::of_dataset(self.def.dataset.as_str(), dataset);
        let mut columns = self.def.select(&all)?;
        let changes = Changes::default();
        let mut order = self.order(&all, dataset)?;
        let mut named = Vec::new();
        for column in &columns {
            named.push(all.find(&column.alias)?.clone());
        }
        let mut also = |name: &str| -> Result<(), Error> {
            if !named.iter().any(|column| column.shown == name) {
                named.push(Named { hidden: true, ..all.find(name)?.clone() });
            }
            Ok(())
        };
        let mut latest = Vec::new();
        if let Some(by) = self.def.shape.by() {
            let by = all.grouping(by)?;
            also(&by.shown)?;
            let ascending =
                |key: &Named| OrderBy { column: key.expr().into(), descending: false, nulls: Nulls::Last };
            if self.def.shape.key_cells() > 0 {
                order.retain(|term| !term.column.is(&by.name));
                order.insert(0, ascending(by));
                columns.insert(0, Column::named(by.name.as_str(), by.shown.as_str()));
            } else {
                // There is one row of each, and names of different clients are different things.
                order = vec![ascending(by), ascending(all.find("_client")?)];
                latest.push(by.name.clone());
            }
        }
        if self.public.is_none() {
            also("_client")?;
        }
        let shown = Columns::of_view(&self.def.path, named);
        let filter = Filter::And(vec![
            all.filter(&bind(&self.filter.conditions, given))?,
            shown.filter(&query.conditions)?,
        ]);
        let limit = match (self.def.limit, query.limit) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let select = Select {
            dataset: self.def.dataset.clone(),
            columns,
            filter,
            latest,
            order,
            limit: 0,
            offset: query.offset,
            count: Count::None,
        };
        Ok(Plan { select, limit, rows_max, changes })
    }

    fn order(&self, all: &Columns, dataset: &DatasetDef) -> Result<Vec<OrderBy>, Error> {
        match &dataset.time {
            Some(time) if self.def.order.is_none() => all.order(&[Term {
                column: Field::column(time.as_str()),
                descending: false,
                nulls_first: None,
            }]),
            _ => all.order(&self.order),
        }
    }
}

impl ViewDef {
    /// The columns that it shows.
    pub(crate) fn select(&self, all: &Columns) -> Result<Vec<Column>, Error> {
        let item = |name: &String| Item::column(name);
        let items: Option<Vec<Item>> = self.columns.as_ref().map(|names| names.iter().map(item).collect());
        Ok(all.select(items.as_deref())?.columns)
    }
}

fn policy(def: &ViewDef) -> Policy {
    let whose = if def.read == Read::Key { "private" } else { "public" };
    let how = match def.freshness {
        // To be validated each time; the tag makes that cheap.
        Freshness::Strict => "no-cache".to_owned(),
        Freshness::Within(span) => format!("max-age={}", span.min(def.ttl).as_secs()),
    };
    Policy {
        cache_control: HeaderValue::try_from(format!("{whose}, {how}")).expect("letters, digits and commas"),
        vary: (def.read == Read::Key)
            .then(|| {
                HeaderValue::from_static(
                    "Accept, Accept-Encoding, Authorization, X-API-Key, Orderwire-Client",
                )
            })
            .or(Some(HeaderValue::from_static("Accept, Accept-Encoding"))),
    }
}

pub(crate) fn path_fault(path: &str) -> Option<String> {
    let Some(parts) = path.strip_prefix('/') else { return Some("the path must begin with /".to_owned()) };
    let first = parts.split('/').next().unwrap_or_default();
    if RESERVED_PATHS.contains(&first.to_ascii_lowercase().as_str()) {
        return Some(format!("/{first} is reserved"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '~' | '-');
    let fits = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(allowed);
    (path.len() > 255 || !parts.split('/').all(fits))
        .then(|| "the path must be parts of A-Z a-z 0-9 . _ ~ - with single / between them".to_owned())
}
