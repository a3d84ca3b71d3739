//! Faults that turn one request into another.

use crate::{Aggregate, Compare, Expr, Filter, Nulls, Operand, OrderBy, Select, Value};
use orderwire_types::dataset::{DatasetDef, OnConflict, Unknown};
use orderwire_types::scope::Clients;
use orderwire_types::{Decimal, Scope};

use super::Fault;

pub(super) fn definition(fault: Fault, def: &DatasetDef) -> DatasetDef {
    let mut def = def.clone();
    match fault {
        Fault::ForgetsDefaults => def.fields.iter_mut().for_each(|field| field.default = None),
        Fault::KeepsNothing if def.unknown == Unknown::Keep => def.unknown = Unknown::Ignore,
        Fault::IgnoresPartitions => def.partition = None,
        Fault::ForgetsUnits => def.fields.iter_mut().for_each(|field| field.unit = None),
        Fault::IgnoresOnConflict => {
            def.on_conflict = match def.on_conflict {
                OnConflict::Update => OnConflict::Keep,
                OnConflict::Keep => OnConflict::Update,
            };
        }
        _ => {}
    }
    def
}

pub(super) fn scope(fault: Fault, scope: &Scope) -> Scope {
    let many = matches!(&scope.clients, Clients::Only(only) if only.len() > 100);
    match fault {
        Fault::SelectsForAll | Fault::ShowsAllClients => Scope { clients: Clients::All, ..scope.clone() },
        Fault::SelectsForMany if many => Scope { clients: Clients::All, ..scope.clone() },
        Fault::IgnoresObjects => Scope { objects: None, ..scope.clone() },
        _ => scope.clone(),
    }
}

pub(super) fn select(fault: Fault, mut select: Select) -> Select {
    match fault {
        Fault::IgnoresOrder => select.order.clear(),
        Fault::IgnoresOrderOfAggregates => select.order.retain(|by| matches!(by.column, Value::Row(_))),
        Fault::TiesBackwards => {
            let column = "_seq".into();
            select.order.push(OrderBy { column, descending: true, nulls: Nulls::Last });
        }
        Fault::NullsLast => select.order.iter_mut().for_each(|order| order.nulls = Nulls::Last),
        Fault::IgnoresOffset => select.offset = 0,
        Fault::ShowsWhatIsOld => select.latest.clear(),
        Fault::StopsShortOfParts | Fault::CountsNulls | Fault::AveragesSums | Fault::DoublesBuckets => {
            for column in &mut select.columns {
                column.value = computed(fault, column.value.clone());
            }
        }
        _ => select.filter = filter(fault, select.filter),
    }
    select
}

fn computed(fault: Fault, value: Value) -> Value {
    match (fault, value) {
        (Fault::StopsShortOfParts, Value::Row(Expr::Part { column, mut path, as_text }))
            if path.len() > 1 =>
        {
            path.pop();
            Value::Row(Expr::Part { column, path, as_text })
        }
        (Fault::CountsNulls, Value::Of(Aggregate::Count, _)) => Value::Rows,
        (Fault::AveragesSums, Value::Of(Aggregate::Sum, expr)) => Value::Of(Aggregate::Avg, expr),
        (Fault::DoublesBuckets, Value::Row(Expr::Bucket { column, micros })) => {
            Value::Row(Expr::Bucket { column, micros: micros * 2 })
        }
        (_, value) => value,
    }
}

fn filter(fault: Fault, given: Filter) -> Filter {
    let each = |filters: Vec<Filter>| filters.into_iter().map(|given| filter(fault, given)).collect();
    match (fault, given) {
        (Fault::TakesAndForOr, Filter::Or(filters)) => Filter::And(each(filters)),
        (_, Filter::And(filters)) => Filter::And(each(filters)),
        (_, Filter::Or(filters)) => Filter::Or(each(filters)),
        (Fault::NotHoldsForNull, Filter::Not(inner)) => match *inner {
            Filter::Compare { column, compare } => {
                let null = Filter::Compare { column: column.clone(), compare: Compare::IsNull };
                let not = Filter::Not(Box::new(Filter::Compare { column, compare }));
                Filter::Or(vec![not, null])
            }
            other => Filter::Not(Box::new(other)),
        },
        (_, Filter::Not(inner)) => Filter::Not(Box::new(filter(fault, *inner))),
        (Fault::BeginsAnew, Filter::From { .. }) => Filter::And(Vec::new()),
        (_, from @ Filter::From { .. }) => from,
        (_, Filter::Compare { column, compare }) => {
            Filter::Compare { column, compare: comparison(fault, compare) }
        }
    }
}

fn comparison(fault: Fault, compare: Compare) -> Compare {
    match (fault, compare) {
        (Fault::TakesLteForLt, Compare::Lte(value)) => Compare::Lt(value),
        (Fault::TakesGteForGt, Compare::Gt(value)) => Compare::Gte(value),
        (Fault::TakesOneForAll, Compare::Contains(texts)) => Compare::Overlaps(texts),
        (Fault::ContainsTheOther, Compare::ContainsJson(document)) => Compare::ContainedByJson(document),
        (Fault::DistinctIsNeq, Compare::Distinct(value)) => Compare::Neq(value),
        // As if they began with a digit more.
        (Fault::ComparesDecimalsByDigits, Compare::Gt(Operand::Decimal(decimal))) => {
            Compare::Gt(Operand::Decimal(Decimal::new(decimal.unscaled() * 10, decimal.scale()).unwrap()))
        }
        (Fault::MatchIgnoresCase, Compare::Match { pattern, .. }) => {
            Compare::Match { pattern, ignore_case: true }
        }
        (Fault::LikeIgnoresCase, Compare::Like { pattern, .. }) => {
            Compare::Like { pattern, ignore_case: true }
        }
        (Fault::LikeWithoutQuotes, Compare::Like { pattern, ignore_case }) => {
            Compare::Like { pattern: pattern.replace('\\', ""), ignore_case }
        }
        (_, compare) => compare,
    }
}
