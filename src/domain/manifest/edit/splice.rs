//! Which bytes a change replaces, and with what.

use super::locate::{Text, Way, Written, walk};
use super::scalar::{self, Context};
use super::{Dialect, Edit, EditError, Value};
use crate::domain::manifest::yaml::{Field, Kind, Map, Node};

/// Bytes to replace.
pub(super) struct Splice {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// What comes in their place.
    pub with: String,
}

impl Splice {
    fn at(at: usize, with: String) -> Self {
        Self { start: at, end: at, with }
    }
}

/// Plans a change of a document.
pub(super) fn plan(text: &str, root: Option<&Node>, edit: &Edit, dialect: Dialect) -> Result<Splice, EditError> {
    let root = root.filter(|node| !node.is_null());
    let planner = Planner { text: Text(text), root, dialect, path: edit.path() };
    match (edit, root) {
        (_, _) if edit.path().is_empty() => Err(planner.not_there()),
        (Edit::Set { value, .. }, Some(root)) => planner.set(root, value),
        (Edit::Set { value, .. }, None) => Ok(planner.append(value)),
        (Edit::Remove { keep, .. }, Some(root)) => planner.remove(root, *keep),
        (Edit::Remove { .. }, None) => Err(planner.not_there()),
    }
}

struct Planner<'a> {
    text: Text<'a>,
    root: Option<&'a Node>,
    dialect: Dialect,
    path: &'a [String],
}

impl Planner<'_> {
    fn not_there(&self) -> EditError {
        EditError::NotThere { path: self.path.join(".") }
    }

    fn layout(&self) -> EditError {
        EditError::Layout { path: self.path.join(".") }
    }

    fn set(&self, root: &Node, value: &Value) -> Result<Splice, EditError> {
        match walk(self.text, root, self.path)? {
            Way::Whole { map, field } => self.replace(map, field, value),
            Way::Missing { map, rest } => self.insert(map, rest, value),
            Way::Empty { map, field, rest } => self.fill(map, field, rest, value),
        }
    }

    /// A value in place of one that is there.
    fn replace(&self, map: &Node, field: &Field, value: &Value) -> Result<Splice, EditError> {
        let context = self.context(map)?;
        if let Some((start, end)) = self.text.alias(field) {
            return Ok(Splice { start, end, with: self.value(value, None, context) });
        }
        let Kind::Scalar(before) = &field.value.kind else {
            return Err(EditError::NotASingleValue { path: self.path.join(".") });
        };
        match self.text.scalar(field) {
            Some((start, end)) => {
                let with = self.value(value, Some(before).filter(|_| !field.value.is_null()), context);
                Ok(Splice { start, end, with })
            }
            None => {
                let at = self.text.after_colon(field);
                let colon = if self.text.slice(0, at).ends_with(':') { "" } else { ":" };
                Ok(Splice::at(at, format!("{colon} {}", self.value(value, None, context))))
            }
        }
    }

    fn context(&self, node: &Node) -> Result<Context, EditError> {
        let Kind::Map(map) = &node.kind else { return Err(self.layout()) };
        Ok(self.text.written(node, map).context)
    }

    fn value(&self, value: &Value, before: Option<&crate::domain::manifest::yaml::Scalar>, context: Context) -> String {
        match value {
            Value::Text(text) => scalar::write(text, before, context, self.dialect),
            Value::Null => "null".to_owned(),
        }
    }

    /// New keys in a mapping that has others, or none.
    fn insert(&self, node: &Node, rest: &[String], value: &Value) -> Result<Splice, EditError> {
        let Kind::Map(map) = &node.kind else { return Err(self.layout()) };
        let written = self.text.written(node, map);
        match (written.context, written.own.last()) {
            (Context::Flow, Some(last)) => {
                let entry = self.flow(rest, value);
                Ok(Splice::at(self.text.end(last), format!(", {entry}")))
            }
            (Context::Flow, None) => {
                let (start, end) = (written.start + 1, node.span.end as usize);
                // Something stands between the brackets that is no entry of its own: a merge key, or a comment.
                if !self.text.slice(start, end.max(start)).trim().is_empty() {
                    return Err(self.layout());
                }
                Ok(Splice { start, end: end.max(start), with: format!(" {} ", self.flow(rest, value)) })
            }
            (Context::Block, Some(last)) => {
                let column = written.own.first().map_or(1, |field| field.key.span.column);
                self.lines_after(self.text.end(last), column.saturating_sub(1) as usize, rest, value)
            }
            (Context::Block, None) => Err(self.layout()),
        }
    }

    /// New keys under a key that holds nothing.
    fn fill(&self, map: &Node, field: &Field, rest: &[String], value: &Value) -> Result<Splice, EditError> {
        let flow = format!("{{ {} }}", self.flow(rest, value));
        if let Some((start, end)) = self.text.scalar(field) {
            return Ok(Splice { start, end, with: flow });
        }
        let at = self.text.after_colon(field);
        match self.context(map)? {
            Context::Flow => {
                let colon = if self.text.slice(0, at).ends_with(':') { "" } else { ":" };
                Ok(Splice::at(at, format!("{colon} {flow}")))
            }
            Context::Block => {
                let indent = field.key.span.column.saturating_sub(1) as usize + self.step();
                self.lines_after(at, indent, rest, value)
            }
        }
    }

    fn step(&self) -> usize {
        self.root.map_or(2, |root| self.text.step(root))
    }

    /// Whole lines after the line that a byte is in.
    fn lines_after(&self, at: usize, indent: usize, rest: &[String], value: &Value) -> Result<Splice, EditError> {
        let next = self.text.next_line(at).ok_or_else(|| self.layout())?;
        let line_break = self.text.line_break(at);
        let lines = self.lines(indent, rest, value, line_break);
        // The file's last line may lack its end; the new last one then lacks it too.
        if self.text.slice(0, next).ends_with('\n') {
            return Ok(Splice::at(next, lines));
        }
        Ok(Splice::at(next, format!("{line_break}{}", lines.trim_end_matches(['\r', '\n']))))
    }

    /// Lines at the end of a file that has none but comments.
    fn append(&self, value: &Value) -> Splice {
        let text = self.text.0;
        let line_break = self.text.line_break(0);
        let lines = match self.dialect {
            Dialect::Yaml => self.lines(0, self.path, value, line_break),
            Dialect::Json => format!("{{ {} }}{line_break}", self.flow(self.path, value)),
        };
        let missing = if text.is_empty() || text.ends_with('\n') { "" } else { line_break };
        Splice::at(text.len(), format!("{missing}{lines}"))
    }

    fn lines(&self, indent: usize, rest: &[String], value: &Value, line_break: &str) -> String {
        let step = self.step();
        let mut lines = String::new();
        for (depth, key) in rest.iter().enumerate() {
            lines.push_str(&" ".repeat(indent + depth * step));
            lines.push_str(&scalar::key(key, Context::Block, self.dialect));
            lines.push(':');
            if depth + 1 == rest.len() {
                lines.push(' ');
                lines.push_str(&self.value(value, None, Context::Block));
            }
            lines.push_str(line_break);
        }
        lines
    }

    fn flow(&self, rest: &[String], value: &Value) -> String {
        let mut text = self.value(value, None, Context::Flow);
        for (depth, key) in rest.iter().enumerate().rev() {
            let key = scalar::key(key, Context::Flow, self.dialect);
            text = format!("{key}: {text}");
            if depth > 0 {
                text = format!("{{ {text} }}");
            }
        }
        text
    }

    fn remove(&self, root: &Node, keep: usize) -> Result<Splice, EditError> {
        let Way::Whole { mut map, mut field } = walk(self.text, root, self.path)? else { return Err(self.not_there()) };
        // What would be left empty goes too, as far as it may.
        let mut depth = self.path.len() - 1;
        while depth > keep && entries(map) == 1 {
            match walk(self.text, root, &self.path[..depth])? {
                Way::Whole { map: outer, field: entry } => (map, field) = (outer, entry),
                Way::Missing { .. } | Way::Empty { .. } => return Err(self.layout()),
            }
            depth -= 1;
        }
        let Kind::Map(inner) = &map.kind else { return Err(self.layout()) };
        let written = self.text.written(map, inner);
        match written.context {
            Context::Flow => self.remove_flow(inner, &written, field),
            Context::Block if entries(map) == 1 && depth > 0 => self.empty(&self.path[..depth], root, field),
            Context::Block => self.remove_lines(field),
        }
    }

    /// Takes away the lines of an entry.
    fn remove_lines(&self, field: &Field) -> Result<Splice, EditError> {
        let key = field.key.span.start as usize;
        let start = self.text.line_start(key);
        let end = self.text.next_line(self.text.end(field)).ok_or_else(|| self.layout())?;
        if !self.text.slice(start, key).bytes().all(|byte| byte == b' ') {
            return Err(self.layout());
        }
        if end == self.text.0.len() && !self.text.0.ends_with('\n') {
            // The line before becomes the last one, and lacks its end as the last one did.
            let before = self.text.slice(0, start).trim_end_matches('\n').trim_end_matches('\r').len();
            return Ok(Splice { start: before, end, with: String::new() });
        }
        Ok(Splice { start, end, with: String::new() })
    }

    /// Writes `{}` in place of the last entry of a mapping that stays.
    fn empty(&self, path: &[String], root: &Node, field: &Field) -> Result<Splice, EditError> {
        let Way::Whole { field: outer, .. } = walk(self.text, root, path)? else { return Err(self.layout()) };
        let Splice { end, .. } = self.remove_lines(field)?;
        let at = self.text.after_colon(outer);
        let key_line = self.text.next_line(at).ok_or_else(|| self.layout())?;
        let kept = self.text.slice(at, key_line);
        // Comments between the key and its entry stay.
        let between = self.text.slice(key_line, self.text.line_start(field.key.span.start as usize));
        Ok(Splice { start: at, end, with: format!(" {{}}{kept}{between}") })
    }

    /// Takes an entry and one comma away.
    fn remove_flow(&self, map: &Map, written: &Written<'_>, field: &Field) -> Result<Splice, EditError> {
        let at = written.own.iter().position(|own| std::ptr::eq(*own, field)).ok_or_else(|| self.layout())?;
        let splice = |start: usize, end: usize| Splice { start, end, with: String::new() };
        let (key, end) = (field.key.span.start as usize, self.text.end(field));
        let previous = at.checked_sub(1).map(|index| self.text.end(written.own[index]));
        let next = written.own.get(at + 1).map(|next| next.key.span.start as usize);
        let (gone, taken) = match (next, previous) {
            (Some(next), _) => (splice(key, next), end..next),
            (None, Some(previous)) => (splice(previous, end), previous..key),
            (None, None) if map.entries.len() == 1 => {
                let start = written.start + 1;
                let close = end + self.text.from(end).find('}').ok_or_else(|| self.layout())?;
                return if self.text.slice(start, key).trim().is_empty() && self.text.slice(end, close).trim().is_empty()
                {
                    Ok(splice(start, close))
                } else {
                    Err(self.layout())
                };
            }
            (None, None) => return Err(self.layout()),
        };
        // A comment between two entries, or a merge key, is nobody's to take.
        if !self.text.slice(taken.start, taken.end).chars().all(|c| c.is_whitespace() || c == ',') {
            return Err(self.layout());
        }
        Ok(gone)
    }
}

fn entries(node: &Node) -> usize {
    match &node.kind {
        Kind::Map(map) => map.entries.len(),
        Kind::List(_) | Kind::Scalar(_) => 0,
    }
}
