//! `groups` and `views` of `fleet.yml`: filters with names. They are for people, so what is wrong with one holds nothing up.

use super::problems::{Problems, show};
use super::read::{self, Extensions, Keys};
use super::yaml::{Kind, Node, Span};
use crate::domain::filter::check::{Column, attribute};
use crate::domain::filter::groups::{MAX_DYNAMIC_GROUPS, WrittenGroup, plain_path};
use crate::domain::filter::views::{Direction, MAX_COLUMNS, MAX_SORT, MAX_VIEWS, Saved, SortKey, View};
use crate::domain::filter::{DynamicGroups, Filter, FilterError};
use crate::domain::finding::codes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Reads both. `bytes` is the whole file, in which findings point into the expressions.
pub fn saved(groups: Option<&Node>, views: Option<&Node>, bytes: &[u8], problems: &mut Problems) -> Saved {
    let mut reader = Reader { bytes, problems, groups: Vec::new(), seen: BTreeSet::new() };
    if let Some(groups) = groups {
        reader.tree(groups, "");
    }
    let (written, nodes): (Vec<WrittenGroup>, Vec<&Node>) = std::mem::take(&mut reader.groups).into_iter().unzip();
    let (groups, errors) = DynamicGroups::new(&written);
    for (index, error) in errors {
        reader.filter_error(nodes[index], &written[index].text, &error);
    }
    let views = views.map(|views| reader.views(views, &groups)).unwrap_or_default();
    Saved { groups, views }
}

struct Reader<'a, 'p> {
    bytes: &'a [u8],
    problems: &'p mut Problems,
    groups: Vec<(WrittenGroup, &'a Node)>,
    seen: BTreeSet<Arc<str>>,
}

impl<'a> Reader<'a, '_> {
    /// Recursion is bounded by the depth of the document.
    fn tree(&mut self, node: &'a Node, above: &str) {
        let Some(map) = read::map(node, "`groups`", self.problems) else { return };
        for field in &map.entries {
            let Some(name) = plain_path(&field.key.text) else {
                let message = format!("`{}` is not the path of a dynamic group", show(&field.key.text));
                let hint = "letters, digits, `_`, `-` and `.`, with `/` between the parts";
                self.problems.error_hint(field.key.span, codes::BAD_NAME, message, hint);
                continue;
            };
            let path = if above.is_empty() { name.to_owned() } else { format!("{above}/{name}") };
            if plain_path(&path).is_none() {
                self.problems.error(field.key.span, codes::BAD_NAME, "the path of the dynamic group is too long");
                continue;
            }
            self.group(&field.value, path, field.key.span);
        }
    }

    fn group(&mut self, node: &'a Node, path: String, span: Span) {
        const KEYS: Keys = Keys {
            what: "a dynamic group",
            known: &["filter", "description", "groups"],
            later: &[],
            extensions: Extensions::Ignored,
        };
        let mut filter = None;
        let mut description = None;
        let mut below = None;
        match &node.kind {
            Kind::Map(_) => {
                for field in read::fields(node, &KEYS, self.problems).unwrap_or_default() {
                    match &*field.key.text {
                        "filter" => filter = Some(&field.value),
                        "description" => {
                            description = read::text(&field.value, "`description`", self.problems).map(Arc::from);
                        }
                        _ => below = Some(&field.value),
                    }
                }
            }
            Kind::Scalar(_) | Kind::List(_) => filter = Some(node),
        }
        let text = filter.and_then(|node| Some((node, read::text(node, "a filter", self.problems)?)));
        if let Some((node, text)) = text {
            let path: Arc<str> = path.as_str().into();
            if !self.seen.insert(path.clone()) {
                let message = format!("the dynamic group `{path}` stands twice");
                return self.problems.error_hint(span, codes::DUPLICATE_KEY, message, "keep one of them");
            }
            if self.groups.len() >= MAX_DYNAMIC_GROUPS {
                let message = format!("there are more than {MAX_DYNAMIC_GROUPS} dynamic groups");
                return self.problems.error(span, codes::TOO_LARGE, message);
            }
            self.groups.push((WrittenGroup { path, text: text.into(), description }, node));
        }
        if let Some(below) = below {
            self.tree(below, &path);
        }
    }

    fn views(&mut self, node: &'a Node, groups: &DynamicGroups) -> BTreeMap<Arc<str>, View> {
        let mut views = BTreeMap::new();
        let Some(map) = read::map(node, "`views`", self.problems) else { return views };
        if map.entries.len() > MAX_VIEWS {
            self.problems.error(node.span, codes::TOO_LARGE, format!("there are more than {MAX_VIEWS} views"));
            return views;
        }
        for field in &map.entries {
            let name = &*field.key.text;
            if name.contains('/') || plain_path(name).is_none() {
                let message = format!("`{}` is not the name of a view", show(name));
                let hint = "letters, digits, `_`, `-` and `.`";
                self.problems.error_hint(field.key.span, codes::BAD_NAME, message, hint);
                continue;
            }
            let before = self.problems.errors();
            let view = self.view(&field.value, groups);
            // A view that is not understood whole would show something else than it says.
            if self.problems.errors() == before {
                views.insert(name.into(), view);
            }
        }
        views
    }

    fn view(&mut self, node: &'a Node, groups: &DynamicGroups) -> View {
        const KEYS: Keys = Keys {
            what: "a view",
            known: &["filter", "columns", "sort", "description"],
            later: &[],
            extensions: Extensions::Ignored,
        };
        let mut view = View::default();
        if let Kind::Scalar(_) = &node.kind {
            view.filter = self.filter(node, groups);
            return view;
        }
        for field in read::fields(node, &KEYS, self.problems).unwrap_or_default() {
            let value = &field.value;
            match &*field.key.text {
                "filter" => view.filter = self.filter(value, groups),
                "columns" => view.columns = self.columns(value, "`columns`", MAX_COLUMNS),
                "sort" => view.sort = self.sort(value),
                _ => view.description = read::text(value, "`description`", self.problems).map(Arc::from),
            }
        }
        view
    }

    fn filter(&mut self, node: &Node, groups: &DynamicGroups) -> Option<Filter> {
        let text = read::text(node, "a filter", self.problems)?;
        match Filter::new(text, groups) {
            Ok(filter) => Some(filter),
            Err(error) => {
                self.filter_error(node, text, &error);
                None
            }
        }
    }

    fn columns(&mut self, node: &'a Node, what: &str, most: usize) -> Vec<Column> {
        let Some(items) = read::list(node, what, self.problems) else { return Vec::new() };
        if items.len() > most {
            self.problems.error(node.span, codes::TOO_LARGE, format!("{what} has more than {most} items"));
            return Vec::new();
        }
        items.iter().filter_map(|item| self.column(item, 0)).collect()
    }

    /// A column, written after `skip` bytes of its text.
    fn column(&mut self, node: &Node, skip: usize) -> Option<Column> {
        let text = read::text(node, "a column", self.problems)?;
        match attribute(&text[skip..]) {
            Ok(column) => Some(column),
            Err(FilterError { span, message, hint }) => {
                let error = FilterError { span: span.start + skip..span.end + skip, message, hint };
                self.filter_error(node, text, &error);
                None
            }
        }
    }

    fn sort(&mut self, node: &'a Node) -> Vec<SortKey> {
        let items = match &node.kind {
            Kind::Scalar(_) => std::slice::from_ref(node),
            Kind::List(_) | Kind::Map(_) => read::list(node, "`sort`", self.problems).unwrap_or_default(),
        };
        if items.len() > MAX_SORT {
            self.problems.error(node.span, codes::TOO_LARGE, format!("`sort` has more than {MAX_SORT} items"));
            return Vec::new();
        }
        let key = |item: &Node| {
            let text = read::text(item, "a column", self.problems)?;
            let (direction, skip) = if text.starts_with('-') { (Direction::Down, 1) } else { (Direction::Up, 0) };
            Some(SortKey { column: self.column(item, skip)?, direction })
        };
        items.iter().filter_map(key).collect()
    }

    fn filter_error(&mut self, node: &Node, text: &str, error: &FilterError) {
        filter_error(node, text, error, self.bytes, self.problems);
    }
}

/// Reports what is wrong with a filter, at its place in the file.
pub(super) fn filter_error(node: &Node, text: &str, error: &FilterError, bytes: &[u8], problems: &mut Problems) {
    let span = inside(bytes, node.span, text, error);
    let message = error.message.clone();
    match error.hint.clone() {
        Some(hint) => problems.error_hint(span, codes::BAD_FILTER, message, hint),
        None => problems.error(span, codes::BAD_FILTER, message),
    }
}

/// Where in the file an error in a text stands: in its line, if the file has that line as it is; else the whole value.
fn inside(bytes: &[u8], value: Span, text: &str, error: &FilterError) -> Span {
    let (start, end) = (value.start as usize, (value.end as usize).min(bytes.len()));
    let at = error.span.start.min(text.len());
    let line_start = text.as_bytes()[..at].iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
    let line_end =
        text.as_bytes()[line_start..].iter().position(|b| *b == b'\n').map_or(text.len(), |n| line_start + n);
    let line = &text.as_bytes()[line_start..line_end];
    let Some(written) = bytes.get(start..end).filter(|_| !line.is_empty()) else { return value };
    let mut places = written.windows(line.len()).enumerate().filter(|(_, window)| *window == line).map(|(at, _)| at);
    let (Some(found), None) = (places.next(), places.next()) else { return value };
    let from = start + found + (at - line_start);
    let until = start + found + (error.span.end.clamp(at, line_end) - line_start);
    let before = &bytes[start..from];
    let characters = |bytes: &[u8]| u32::try_from(String::from_utf8_lossy(bytes).chars().count()).unwrap_or(u32::MAX);
    let (line, column) = match before.iter().rposition(|b| *b == b'\n') {
        None => (value.line, value.column + characters(before)),
        Some(newline) => {
            let lines = before.iter().filter(|b| **b == b'\n').count();
            (value.line + u32::try_from(lines).unwrap_or(u32::MAX), 1 + characters(&before[newline + 1..]))
        }
    };
    let offset = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { line, column, start: offset(from), end: offset(until.max(from + 1).min(end)) }
}
