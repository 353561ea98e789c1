//! Which dynamic groups a filter names, before there are any.

use crate::domain::filter::FilterError;
use crate::domain::filter::parse::{Parsed, parse};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue};

/// Checks a text, and says which dynamic groups it names. Used to order them before there are any.
pub fn mentions(text: &str) -> Result<Vec<(String, std::ops::Range<usize>)>, FilterError> {
    let parsed = parse(text)?;
    let mut found = Vec::new();
    collect(&parsed, &parsed.root, &mut found);
    Ok(found)
}

fn collect(parsed: &Parsed<'_>, node: &IdedExpr, found: &mut Vec<(String, std::ops::Range<usize>)>) {
    match &node.expr {
        Expr::Call(CallExpr { func_name, target, args }) => {
            if let ("in_group", [argument]) = (func_name.as_str(), args.as_slice())
                && let Expr::Literal(LiteralValue::String(text)) = &argument.expr
            {
                found.push((text.inner().to_owned(), parsed.span(argument)));
            }
            target.iter().for_each(|target| collect(parsed, target, found));
            args.iter().for_each(|argument| collect(parsed, argument, found));
        }
        Expr::Select(select) => collect(parsed, &select.operand, found),
        Expr::List(list) => list.elements.iter().for_each(|item| collect(parsed, item, found)),
        _ => {}
    }
}
