//! Filters: which devices are meant, said in CEL over what is known of them.
//!
//! ```text
//! reported.cpu == "MIPS" && "kiosks" in groups && tags.site.startsWith("hk")
//! ```
//!
//! A text is parsed (`parse`), every name and type in it is checked before anything is evaluated ([`check()`]), and what comes
//! out is a [`Test`] that is total: it has an answer for every device. Three sources of attributes are kept apart by name
//! ([`Source`]): what the device says, what operators say, what Git says.
//!
//! The answer is one of three ([`Answer`]): a comparison with something that is not there is false, but one with something
//! that nobody here can know (what a device says, on a clone) is unknown, and stays visible as such.
//!
//! [`eval`] answers for one device. [`index`] answers for a million, and gives the same answer (a property test).

pub mod check;
pub mod eval;
pub mod facts;
pub mod groups;
pub mod index;
mod parse;
#[cfg(test)]
mod tests;
pub mod views;

pub use check::check;
pub use eval::evaluate;
pub use facts::Facts;
pub use groups::DynamicGroups;

use std::ops::Range;
use std::sync::Arc;

/// The longest filter, in bytes. People write a line or two; a list of names may take more.
pub const MAX_FILTER_BYTES: usize = 8 << 10;
/// How deep brackets may be nested in a filter.
pub const MAX_DEPTH: usize = 16;
/// How many operators and dots may follow each other without `&&`, `||` or a comma. The parser recurses over such a chain.
pub const MAX_CHAIN: usize = 32;
/// How many items a list in a filter may have.
pub const MAX_LIST: usize = 1000;
/// What parts the steps into mappings in the name of a variable. No filter can write it in a name.
pub const STEP: char = '\0';
/// The longest regular expression, in bytes.
pub const MAX_PATTERN_BYTES: usize = 512;
/// How much memory a compiled regular expression may take, in bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Who says something of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// The device itself.
    Reported,
    /// Operators, through the API.
    Registry,
    /// Git: `tags`.
    Tags,
    /// Git: `labels`.
    Labels,
    /// Git: free variables, which belong to Ansible and to people.
    Variables,
    /// Git, once per device: `device`, `stage`, `device_type`.
    Device,
}

/// One thing that is known of a device, by its source and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute {
    /// Who says it.
    pub source: Source,
    /// What it is called there. Steps into mappings of variables are parted by [`STEP`].
    pub name: Arc<str>,
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(prefix) = self.source.prefix() else { return f.write_str(&self.name) };
        f.write_str(prefix)?;
        for step in self.name.split(STEP) {
            let plain = step.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && step.bytes().next().is_some_and(|b| !b.is_ascii_digit());
            match plain {
                true => write!(f, ".{step}")?,
                false => write!(f, "[{step:?}]")?,
            }
        }
        Ok(())
    }
}

impl Source {
    /// What filters write before the dot; `None` for names that stand alone.
    pub fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Reported => Some("reported"),
            Self::Registry => Some("registry"),
            Self::Tags => Some("tags"),
            Self::Labels => Some("labels"),
            Self::Variables => Some("vars"),
            Self::Device => None,
        }
    }

    /// All sources.
    pub const ALL: [Self; 6] =
        [Self::Reported, Self::Registry, Self::Tags, Self::Labels, Self::Variables, Self::Device];
}

/// A value of an attribute or a literal.
#[derive(Clone, Debug)]
pub enum Value {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Text.
    Text(Arc<str>),
    /// Nothing, a list or a mapping: it is there, and equal to no other value.
    Other,
}

/// What a filter answers for a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// The filter does not mean it.
    No,
    /// It cannot be told here: something that decides is not known.
    Unknown,
    /// The filter means it.
    Yes,
}

/// A checked filter: a function from what is known of a device to an [`Answer`].
#[derive(Clone, Debug)]
pub enum Test {
    /// Always or never.
    Is(Answer),
    /// The opposite.
    Not(Box<Test>),
    /// Every one of them.
    All(Vec<Test>),
    /// At least one of them.
    Any(Vec<Test>),
    /// A question about one attribute.
    One(Attribute, Predicate),
    /// Two attributes compared.
    Two(Term, Relation, Term),
    /// The device is in this group of the inventory.
    InGroup(Arc<str>),
    /// The device is in this dynamic group, by its index among [`DynamicGroups`].
    InDynamic(usize),
}

/// An attribute as a value, read as a number where `int()` or a known type says so.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// Which.
    pub attribute: Attribute,
    /// As what.
    pub reading: Reading,
}

/// How the text of an attribute is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reading {
    /// As it is.
    Plain,
    /// As a whole number; text that is none counts as not there.
    Int,
}

/// A question about one value. Nothing is asked about a value that is not there: the answer is no.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// It is there.
    Present,
    /// It compares so with a literal.
    Compare(Reading, Relation, Value),
    /// It is one of these; sorted.
    OneOf(Reading, Arc<[Value]>),
    /// Its text begins with this.
    StartsWith(Arc<str>),
    /// Its text ends with this.
    EndsWith(Arc<str>),
    /// Its text contains this.
    Contains(Arc<str>),
    /// Its text matches, anywhere unless the expression is anchored.
    Matches(regex::Regex),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// A filter with its text.
#[derive(Clone, Debug)]
pub struct Filter {
    /// As it was written.
    pub text: Arc<str>,
    /// What it means.
    pub test: Test,
}

/// What is wrong with a filter, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilterError {
    /// Which bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl FilterError {
    /// An error at a place.
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    /// The same with advice.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The line of the text in which it begins, with carets below.
    ///
    /// ```text
    /// reported.cpu = "MIPS"
    ///              ^
    /// ```
    pub fn underlined(&self, text: &str) -> String {
        let start = floor(text, self.span.start);
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = &text[begin..];
        let line = &line[..line.find('\n').unwrap_or(line.len())];
        let end = floor(text, self.span.end).clamp(start, begin + line.len());
        let blank = text[begin..start].chars().count();
        let carets = text[start..end].chars().count().max(1);
        let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        format!("{shown}\n{}{}", " ".repeat(blank), "^".repeat(carets))
    }
}

/// The last boundary of a character that is not beyond `at`.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl Filter {
    /// Reads and checks a filter. Dynamic groups that it may name are `groups`.
    pub fn new(text: &str, groups: &DynamicGroups) -> Result<Self, FilterError> {
        let parsed = parse::parse(text)?;
        let test = check(&parsed, groups)?;
        Ok(Self { text: text.into(), test })
    }
}

impl Answer {
    /// Both: unknown unless one of them settles it.
    pub fn and(self, other: Self) -> Self {
        self.min(other)
    }

    /// Either: unknown unless one of them settles it.
    pub fn or(self, other: Self) -> Self {
        self.max(other)
    }

    /// The opposite. The opposite of unknown is unknown.
    pub fn opposite(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

impl From<bool> for Answer {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl Value {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) => 0,
            Self::Int(_) => 1,
            Self::Double(_) => 2,
            Self::Text(_) => 3,
            Self::Other => 4,
        }
    }

    /// Its text, if it is text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Other => None,
        }
    }

    /// The value as a reading understands it; `None` if it cannot be understood so.
    pub fn read(&self, reading: Reading) -> Option<Self> {
        match (reading, self) {
            (Reading::Plain, _) | (Reading::Int, Self::Int(_)) => Some(self.clone()),
            (Reading::Int, Self::Text(text)) => text.trim().parse().ok().map(Self::Int),
            (Reading::Int, Self::Bool(_) | Self::Double(_) | Self::Other) => None,
        }
    }

    /// How two values compare; `None` for values of different kinds, which never compare.
    pub fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Double(one), Self::Double(other)) => one.partial_cmp(other),
            (Self::Int(one), Self::Double(other)) => (*one as f64).partial_cmp(other),
            (Self::Double(one), Self::Int(other)) => one.partial_cmp(&(*other as f64)),
            _ => None,
        }
    }
}

/// By kind, then by value: the order of dictionaries, total even for numbers that are none.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Double(one), Self::Double(other)) => one.total_cmp(other),
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(value) => f.write_str(value),
            Self::Other => f.write_str("…"),
        }
    }
}

impl Relation {
    /// Whether values that compare so are related.
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }

    /// The relation with its sides exchanged.
    pub fn turned(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::AtMost => Self::AtLeast,
            Self::Greater => Self::Less,
            Self::AtLeast => Self::AtMost,
        }
    }
}

impl Predicate {
    /// Whether it holds for a value that is there.
    pub fn holds(&self, value: &Value) -> bool {
        match self {
            Self::Present => true,
            Self::Compare(reading, relation, literal) => {
                relate(value.read(*reading).as_ref(), *relation, Some(literal))
            }
            Self::OneOf(reading, options) => {
                let Some(value) = value.read(*reading) else { return false };
                options.iter().any(|option| value.compare(option).is_some_and(std::cmp::Ordering::is_eq))
            }
            Self::StartsWith(part) => value.text().is_some_and(|text| text.starts_with(&**part)),
            Self::EndsWith(part) => value.text().is_some_and(|text| text.ends_with(&**part)),
            Self::Contains(part) => value.text().is_some_and(|text| text.contains(&**part)),
            Self::Matches(pattern) => value.text().is_some_and(|text| pattern.is_match(text)),
        }
    }
}

/// Whether two values are related. What is not there is related to nothing; values of different kinds are unequal and have no
/// order.
pub fn relate(left: Option<&Value>, relation: Relation, right: Option<&Value>) -> bool {
    let (Some(left), Some(right)) = (left, right) else { return false };
    match left.compare(right) {
        Some(order) => relation.holds(order),
        None => relation == Relation::NotEqual,
    }
}
