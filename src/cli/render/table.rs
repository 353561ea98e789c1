//! Tables without lines, and the same tables in Markdown.

use super::text::{Tone, plain};
use comfy_table::{Attribute, Color, ContentArrangement, presets};

/// One cell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone. What could act on a terminal is made harmless.
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self { text: plain(text.as_ref()), tone }
    }
}

impl<T: std::fmt::Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text.to_string(), Tone::Plain)
    }
}

/// Makes a row out of things that are cells or can be shown.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::cli::render::table::Cell::from($cell)),*] };
}
pub(in crate::cli) use row;

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table with these headings, in capitals.
    pub fn new(headers: &[&str]) -> Self {
        Self { headers: headers.iter().map(|header| plain(header)).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.headers.len(), "every row has a cell for each heading");
        self.rows.push(cells);
    }

    /// Adds a row of a name and a value, for tables without headings.
    pub fn fact(&mut self, name: &str, value: Cell) {
        self.rows.push(vec![Cell::new(name, Tone::Quiet), value]);
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Columns side by side. Where the width is known, long cells are broken into lines; nothing is ever cut.
    pub fn text(&self, width: Option<u16>) -> String {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).force_no_tty().enforce_styling().style_text_only();
        match width {
            Some(width) => table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if !self.headers.is_empty() {
            let bold = |text: &String| comfy_table::Cell::new(text).add_attribute(Attribute::Bold);
            table.set_header(self.headers.iter().map(bold).collect::<Vec<_>>());
        }
        table.add_rows(self.rows.iter().map(|row| row.iter().map(styled).collect::<Vec<_>>()));
        let last = table.column_count().saturating_sub(1);
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, if index == last { 0 } else { 3 }));
        }
        let mut text = String::new();
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// The same as a table of GitHub's Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &mut dyn Iterator<Item = String>| format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        // A table of facts has no headings, but GitHub's Markdown knows no table without them.
        let headers = if self.headers.is_empty() { vec![String::new(); 2] } else { self.headers.clone() };
        let mut text = line(&mut headers.iter().map(|header| capitalised(header)));
        text.push_str(&line(&mut headers.iter().map(|_| "---".to_owned())));
        for row in &self.rows {
            text.push_str(&line(&mut row.iter().map(|cell| escaped(&cell.text))));
        }
        text
    }
}

fn styled(cell: &Cell) -> comfy_table::Cell {
    let shown = comfy_table::Cell::new(&cell.text);
    match cell.tone {
        Tone::Plain => shown,
        Tone::Good => shown.fg(Color::DarkGreen),
        Tone::Bad => shown.fg(Color::DarkRed),
        Tone::Unsure => shown.fg(Color::DarkYellow),
        Tone::Quiet => shown.add_attribute(Attribute::Dim),
        Tone::Strong => shown.add_attribute(Attribute::Bold),
    }
}

/// Headings that are no words.
const ABBREVIATIONS: &[&str] = &["OS"];

fn capitalised(header: &str) -> String {
    if ABBREVIATIONS.contains(&header) {
        return header.to_owned();
    }
    let lower = header.to_lowercase();
    let mut letters = lower.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Lines of text as a list; a line that is set in becomes an item below the one before.
pub fn listed(text: &str) -> String {
    let bare = anstream::adapter::strip_str(text).to_string();
    let item = |line: &str| {
        let below = line.len() > line.trim_start().len();
        format!("{}- {}\n", if below { "  " } else { "" }, escaped(line.trim()))
    };
    bare.lines().filter(|line| !line.trim().is_empty()).map(item).collect()
}

/// A text as Markdown shows it unchanged: it makes no link, notifies nobody, is no formula and nothing that a browser acts on.
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut word = String::new();
    for c in plain(text).chars() {
        // Forges look for names of people, addresses and formulas in the text that is left; a comment in between keeps them from it.
        match c {
            '@' if word.is_empty() => shown.push_str("@<!-- -->"),
            ':' if SCHEMES.iter().any(|scheme| word.eq_ignore_ascii_case(scheme)) => shown.push_str(":<!-- -->"),
            '.' if word.eq_ignore_ascii_case("www") => shown.push_str("<!-- -->."),
            '$' => shown.push_str("<span>$</span>"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&' => shown.extend(['\\', c]),
            _ => shown.push(c),
        }
        if c.is_alphanumeric() { word.push(c) } else { word.clear() }
    }
    shown
}

/// What makes an address a link wherever it stands.
const SCHEMES: &[&str] = &["http", "https", "ftp", "mailto", "xmpp"];

/// A text as code within a line, exactly as it is.
pub fn code(text: &str) -> String {
    let text = plain(text);
    let ticks = "`".repeat(longest_run(&text) + 1);
    // Spaces keep ticks at the ends apart from ours, and are not shown.
    if text.is_empty() { String::new() } else { format!("{ticks} {text} {ticks}") }
}

/// Lines as a block of code in a language. Whatever could end the block or act on who reads it is shown as text.
pub fn fenced(language: &str, text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("{}\n", plain(line))).collect();
    let ticks = "`".repeat((longest_run(&lines) + 1).max(3));
    format!("{ticks}{language}\n{lines}{ticks}\n")
}

/// The longest row of ticks in a text.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::bare;
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STAGE", "WAITS FOR"]);
        table.row(row!["kiosk-station", Cell::new("production", Tone::Good), "nothing"]);
        table.row(row!["x", "", "a long reason that has to be broken, because the terminal is narrow"]);
        table
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        insta::assert_snapshot!(bare(&table().text(None)), @r"
        NAME            STAGE        WAITS FOR
        kiosk-station   production   nothing
        x                            a long reason that has to be broken, because the terminal is narrow
        ");
    }

    #[test]
    fn on_a_narrow_terminal_cells_are_broken_and_nothing_is_lost() {
        insta::assert_snapshot!(bare(&table().text(Some(60))), @"
        NAME            STAGE        WAITS FOR
        kiosk-station   production   nothing
        x                            a long reason that has to be
                                     broken, because the terminal is
                                     narrow
        ");
    }

    #[test]
    fn markdown_headings_are_words_and_abbreviations_stay() {
        assert_eq!(["LAST SEEN", "OS"].map(capitalised), ["Last seen", "OS"]);
    }

    #[test]
    fn markdown_shows_what_is_there_and_nothing_else() {
        let mut table = Table::new(&["NAME", "WAITS FOR"]);
        table.row(row!["a_b|c", "<img> [x](y)\nz @anna a@b"]);
        insta::assert_snapshot!(table.markdown(), @r"
        | Name | Waits for |
        | --- | --- |
        | a\_b\|c | \<img\> \[x\](y)\\nz @<!-- -->anna a@b |
        ");
    }
}
