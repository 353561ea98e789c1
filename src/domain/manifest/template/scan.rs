//! What a template may consist of, told from its text alone.
//!
//! Fuel bounds steps, not the length of the texts that one step makes. So nothing is allowed that could double a text over and
//! over: no assignments, few concatenations, no repetition, and few loops.

use super::{Fault, MAX_TEMPLATE_BYTES};

/// How often texts may be put together with `~` or `+`: with two loops around them, a text grows at most some hundredfold.
const MAX_JOINS: usize = 16;
/// How many loops there may be.
const MAX_LOOPS: usize = 2;
/// Statements that cannot make anything grow.
const STATEMENTS: &[&str] = &["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];

/// Checks a template's length and statements.
pub(super) fn check(source: &str) -> Result<(), Fault> {
    if source.len() > MAX_TEMPLATE_BYTES {
        let message = format!("the template is {} bytes long; at most {MAX_TEMPLATE_BYTES} are rendered", source.len());
        return Err(Fault::new(message));
    }
    let mut scan = Scan { rest: source, joins: 0, loops: 0 };
    while let Some(open) =
        scan.rest.find("{{").into_iter().chain(scan.rest.find("{%")).chain(scan.rest.find("{#")).min()
    {
        let at = source.len() - scan.rest.len() + open;
        let kind = scan.rest.as_bytes()[open + 1];
        scan.rest = &scan.rest[open + 2..];
        match kind {
            b'#' => scan.rest = scan.rest.split_once("#}").map_or("", |(_, rest)| rest),
            b'%' => scan.statement(at)?,
            _ => scan.expression(at, "}}")?,
        }
    }
    Ok(())
}

struct Scan<'a> {
    rest: &'a str,
    joins: usize,
    loops: usize,
}

impl Scan<'_> {
    fn statement(&mut self, at: usize) -> Result<(), Fault> {
        let body = self.rest.trim_start_matches(['-', '+']).trim_start();
        let word: String = body.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if !STATEMENTS.contains(&word.as_str()) {
            let message = format!("templates have no statement `{}` here", super::super::problems::show(&word));
            return Err(Fault::new(message).at(at).hint("there are `if`, `elif`, `else`, `for` and `raw`"));
        }
        if word == "for" {
            self.loops += 1;
            if self.loops > MAX_LOOPS {
                return Err(Fault::new(format!("a template can have at most {MAX_LOOPS} loops")).at(at));
            }
        }
        if word == "raw" {
            // Nothing inside counts.
            let end = self.rest.find("endraw").unwrap_or(self.rest.len());
            self.rest = &self.rest[end..];
        }
        self.expression(at, "%}")
    }

    /// Up to the end of an expression, with quotes as the template language has them.
    fn expression(&mut self, at: usize, end: &str) -> Result<(), Fault> {
        let bytes = self.rest.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            match bytes[index] {
                quote @ (b'"' | b'\'') => {
                    index += 1;
                    while index < bytes.len() && bytes[index] != quote {
                        index += if bytes[index] == b'\\' { 2 } else { 1 };
                    }
                }
                b'*' => return Err(Fault::new("templates cannot multiply or repeat with `*`").at(at)),
                b'~' | b'+' => self.joins += 1,
                byte if byte == end.as_bytes()[0] && bytes[index..].starts_with(end.as_bytes()) => {
                    index += 2;
                    break;
                }
                _ => {}
            }
            index += 1;
        }
        if self.joins > MAX_JOINS {
            return Err(Fault::new(format!("a template can join texts at most {MAX_JOINS} times")).at(at));
        }
        self.rest = self.rest.get(index.min(bytes.len())..).unwrap_or_default();
        Ok(())
    }
}
