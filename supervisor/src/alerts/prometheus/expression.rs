//! Expressions of Prometheus that say what a rule of ours says: a selection, compared with a number.

use std::collections::BTreeMap;

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::{BinaryExpr, Call, Expr, MatrixSelector, VectorSelector, parse};

use super::names::{QUANTILE, QUANTILES_SECS, ours};
use crate::alerts::readings::{Aggregate, Selection};
use crate::alerts::rule::{Operator, WINDOW_SECS_MAX};

/// The longest expression, in bytes. The tree that comes of it is walked by recursion.
const BYTES_MAX: usize = 2000;

/// The window of a value that is the newest.
const LAST_WINDOW_SECS: u32 = 60;

/// What an expression says.
pub(super) fn read(text: &str) -> Result<(Selection, Operator, f64), String> {
    if BYTES_MAX < text.len() {
        return Err(format!("its expression has more than {BYTES_MAX} bytes"));
    }
    // It panics at durations that are longer than a duration can be.
    let parsed = std::panic::catch_unwind(|| parse(text))
        .unwrap_or_else(|_panic| Err("a number in it is too large".to_owned()));
    let parsed = parsed.map_err(|error| format!("its expression is none: {error}"))?;
    let Expr::Binary(binary) = bare(&parsed) else {
        return Err("it is not one selection compared with one number".to_owned());
    };
    let operator = operator(binary)?;
    let (left, right) = (bare(&binary.lhs), bare(&binary.rhs));
    match (number(left), number(right)) {
        (None, Some(value)) => Ok((selection(left)?, operator, value)),
        // The other way round.
        (Some(value), None) => Ok((selection(right)?, mirrored(operator), value)),
        _ => Err("it is not one selection compared with one number".to_owned()),
    }
}

fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Paren(inner) = expression {
        expression = &inner.expr;
    }
    expression
}

fn number(expression: &Expr) -> Option<f64> {
    match expression {
        Expr::NumberLiteral(literal) => Some(literal.val),
        Expr::Unary(negative) => number(bare(&negative.expr)).map(|value| -value),
        _ => None,
    }
}

fn operator(binary: &BinaryExpr) -> Result<Operator, String> {
    if binary.return_bool() {
        return Err("`bool` is not known here".to_owned());
    }
    match binary.op.to_string().as_str() {
        ">" => Ok(Operator::Gt),
        ">=" => Ok(Operator::Gte),
        "<" => Ok(Operator::Lt),
        "<=" => Ok(Operator::Lte),
        "==" => Ok(Operator::Eq),
        other => Err(format!("`{other}` is not known here")),
    }
}

fn mirrored(operator: Operator) -> Operator {
    match operator {
        Operator::Gt => Operator::Lt,
        Operator::Gte => Operator::Lte,
        Operator::Lt => Operator::Gt,
        Operator::Lte => Operator::Gte,
        Operator::Eq => Operator::Eq,
    }
}

fn selection(expression: &Expr) -> Result<Selection, String> {
    match expression {
        Expr::VectorSelector(series) => of_series(series, Aggregate::Last, LAST_WINDOW_SECS),
        Expr::Call(call) => of_call(call),
        Expr::Aggregate(aggregate) => Err(format!("`{}` is not known here", aggregate.op)),
        _ => Err("it is not one selection compared with one number".to_owned()),
    }
}

fn of_call(call: &Call) -> Result<Selection, String> {
    let name = call.func.name;
    let args: Vec<&Expr> = call.args.args.iter().map(|arg| bare(arg)).collect();
    let (aggregate, window) = match (name, args.as_slice()) {
        ("avg_over_time", [window]) => (Aggregate::Avg, window),
        ("min_over_time", [window]) => (Aggregate::Min, window),
        ("max_over_time", [window]) => (Aggregate::Max, window),
        ("last_over_time", [window]) => (Aggregate::Last, window),
        ("rate", [window]) => (Aggregate::Rate, window),
        ("increase", [window]) => (Aggregate::Increase, window),
        ("quantile_over_time", [part, window]) => (quantile(part)?, window),
        _ => return Err(format!("`{name}` is not known here")),
    };
    let Expr::MatrixSelector(MatrixSelector { vs, range }) = window else {
        return Err(format!("`{name}` is of something other than a series"));
    };
    let secs = range.as_secs();
    let is_whole = range.subsec_nanos() == 0 && 1 <= secs && secs <= u64::from(WINDOW_SECS_MAX);
    let secs = u32::try_from(secs).ok().filter(|_| is_whole);
    let secs = secs.ok_or_else(|| format!("a window has 1 to {WINDOW_SECS_MAX} whole seconds"))?;
    of_series(vs, aggregate, secs)
}

fn quantile(part: &Expr) -> Result<Aggregate, String> {
    let part = number(part).unwrap_or(f64::NAN);
    [(0.95_f64, Aggregate::P95), (0.99, Aggregate::P99)]
        .into_iter()
        .find(|(known, _)| known.total_cmp(&part).is_eq())
        .map(|(_, aggregate)| aggregate)
        .ok_or_else(|| "of quantiles only 0.95 and 0.99 are known here".to_owned())
}

fn of_series(
    series: &VectorSelector,
    aggregate: Aggregate,
    window_secs: u32,
) -> Result<Selection, String> {
    if series.offset.is_some() || series.at.is_some() {
        return Err("`offset` and `@` are not known here".to_owned());
    }
    let Some(name) = &series.name else { return Err("it names no metric".to_owned()) };
    let Matchers { matchers, or_matchers } = &series.matchers;
    let is_plain = or_matchers.is_empty() && matchers.iter().all(|it| it.op == MatchOp::Equal);
    if !is_plain {
        return Err("of matchers only `=` is known here".to_owned());
    }
    let labels = matchers.iter().map(|it| (it.name.clone(), it.value.clone()));
    let mut labels: BTreeMap<String, String> = labels.collect();
    let metric = ours(name);
    let Some(quantile) = labels.remove(QUANTILE) else {
        return Ok(Selection { metric, aggregate, window_secs, labels });
    };
    let aggregate = match (aggregate, quantile.as_str()) {
        (Aggregate::Last, "0.95") => Aggregate::P95,
        (Aggregate::Last, "0.99") => Aggregate::P99,
        _ => return Err("of quantiles only the newest of 0.95 and 0.99 are known".to_owned()),
    };
    Ok(Selection { metric, aggregate, window_secs: QUANTILES_SECS, labels })
}
