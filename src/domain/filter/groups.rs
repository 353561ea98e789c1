//! Dynamic groups: named filters of `fleet.yml`, as a tree of paths, each refining the one above it.

use super::check::{check, mentions};
use super::parse::parse;
use super::{Answer, FilterError, Test};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// How many dynamic groups a fleet may have.
pub const MAX_DYNAMIC_GROUPS: usize = 1000;
/// How many groups may refer to each other in a row, the ones above included. Evaluation recurses over them.
pub const MAX_REFERENCES: usize = 32;
/// The longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 200;

/// All dynamic groups of a commit. A group comes after every group that it refers to.
#[derive(Clone, Debug, Default)]
pub struct DynamicGroups {
    groups: Vec<DynamicGroup>,
    by_path: BTreeMap<Arc<str>, usize>,
}

/// One dynamic group.
#[derive(Clone, Debug)]
pub struct DynamicGroup {
    /// Its path, such as `co/cisco`, without `/` at either end.
    pub path: Arc<str>,
    /// Its own filter as it is written; the ones of the groups above count too.
    pub text: Arc<str>,
    /// What it is for.
    pub description: Option<Arc<str>>,
    test: Test,
}

/// A group as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenGroup {
    /// Its path.
    pub path: Arc<str>,
    /// Its filter.
    pub text: Arc<str>,
    /// What it is for.
    pub description: Option<Arc<str>>,
}

/// The path as it is kept: without `/` at either end. `None` if it is none.
pub fn plain_path(path: &str) -> Option<&str> {
    let plain = path.strip_prefix('/').unwrap_or(path);
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
    };
    (plain.len() <= MAX_PATH_BYTES && plain.split('/').all(part)).then_some(plain)
}

impl DynamicGroups {
    /// Checks groups and puts them in order. Each error comes with the index of the group that it is about; such a group stays,
    /// and whether a device is in it is unknown.
    pub fn new(written: &[WrittenGroup]) -> (Self, Vec<(usize, FilterError)>) {
        let mut errors = Vec::new();
        let by_path: BTreeMap<&str, usize> =
            written.iter().enumerate().map(|(index, group)| (&*group.path, index)).collect();
        let needs: Vec<Vec<Need>> = written
            .iter()
            .map(|group| {
                let above = above(&group.path).find_map(|path| by_path.get(path));
                let above = above.map(|&group| Need { group, place: 0..group_len(&written[group]) });
                // What cannot be read is told when it is checked.
                let named = mentions(&group.text)
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|(path, place)| Some(Need { group: *by_path.get(plain_path(&path)?)?, place }));
                above.into_iter().chain(named).collect()
            })
            .collect();
        let mut all = Self::default();
        let mut depth: Vec<Option<usize>> = vec![None; written.len()];
        let mut waiting: BTreeSet<usize> = (0..written.len()).collect();
        loop {
            let ready: Vec<usize> = waiting
                .iter()
                .copied()
                .filter(|&index| needs[index].iter().all(|need| depth[need.group].is_some()))
                .collect();
            if ready.is_empty() {
                break;
            }
            for index in ready {
                waiting.remove(&index);
                let own =
                    needs[index].iter().filter_map(|need| depth[need.group]).max().map_or(0, |deepest| deepest + 1);
                depth[index] = Some(own);
                let test = if own > MAX_REFERENCES {
                    let message = format!("more than {MAX_REFERENCES} groups refer to each other in a row");
                    Err(FilterError::new(0..written[index].text.len(), message))
                } else {
                    all.read(&written[index])
                };
                all.add(
                    &written[index],
                    test.unwrap_or_else(|error| {
                        errors.push((index, error));
                        Test::Is(Answer::Unknown)
                    }),
                );
            }
        }
        for &index in &waiting {
            if let Some(error) = cycle(index, written, &needs, &waiting) {
                errors.push((index, error));
            }
            all.add(&written[index], Test::Is(Answer::Unknown));
        }
        errors.sort_by_key(|(index, error)| (*index, error.span.start));
        (all, errors)
    }

    fn read(&self, group: &WrittenGroup) -> Result<Test, FilterError> {
        let own = check(&parse(&group.text)?, self)?;
        let above = above(&group.path).find_map(|path| self.by_path.get(path));
        Ok(match above {
            Some(&above) => Test::All(vec![Test::InDynamic(above), own]),
            None => own,
        })
    }

    fn add(&mut self, group: &WrittenGroup, test: Test) {
        let WrittenGroup { path, text, description } = group.clone();
        self.by_path.insert(path.clone(), self.groups.len());
        self.groups.push(DynamicGroup { path, text, description, test });
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The index of a group, by its path with or without `/` at the beginning.
    pub fn index_of(&self, path: &str) -> Option<usize> {
        self.by_path.get(plain_path(path)?).copied()
    }

    /// What a group means.
    pub fn test(&self, group: usize) -> Option<&Test> {
        self.groups.get(group).map(|group| &group.test)
    }

    /// All groups, by path.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &DynamicGroup)> {
        self.by_path.values().map(|&index| (index, &self.groups[index]))
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.by_path.keys().map(|path| &**path)
    }

    /// What stands directly below a path, the empty one for the top: names with the index of the group, `None` where only
    /// something further below is a group.
    pub fn below(&self, path: &str) -> BTreeMap<&str, Option<usize>> {
        let mut found = BTreeMap::new();
        for (known, &index) in &self.by_path {
            let rest = match path {
                "" => Some(&**known),
                path => known.strip_prefix(path).and_then(|rest| rest.strip_prefix('/')),
            };
            let Some(rest) = rest else { continue };
            match rest.split_once('/') {
                None => {
                    found.insert(rest, Some(index));
                }
                Some((first, _)) => {
                    found.entry(first).or_insert(None);
                }
            }
        }
        found
    }
}

/// Two sets of groups are equal if they are written the same.
impl PartialEq for DynamicGroups {
    fn eq(&self, other: &Self) -> bool {
        let written = |group: &DynamicGroup| (group.path.clone(), group.text.clone(), group.description.clone());
        self.groups.iter().map(written).eq(other.groups.iter().map(written))
    }
}

/// A group that another one refers to, and where.
struct Need {
    group: usize,
    place: Range<usize>,
}

fn group_len(group: &WrittenGroup) -> usize {
    group.text.len()
}

/// The paths above a path, the nearest first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(path.rsplit_once('/').map(|(above, _)| above), |path| {
        path.rsplit_once('/').map(|(above, _)| above)
    })
}

/// What to say of a group that waits for itself; `None` for one that only waits for such groups.
fn cycle(
    start: usize,
    written: &[WrittenGroup],
    needs: &[Vec<Need>],
    waiting: &BTreeSet<usize>,
) -> Option<FilterError> {
    // The shortest way round, breadth first.
    let mut came: BTreeMap<usize, usize> = BTreeMap::new();
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(at) = queue.pop_front() {
        for need in needs[at].iter().filter(|need| waiting.contains(&need.group)) {
            if need.group == start {
                let mut way = vec![start, at];
                while let Some(&from) = came.get(way.last()?) {
                    way.push(from);
                }
                way.dedup();
                way.reverse();
                if way.len() == 1 {
                    way.push(start);
                }
                let names: Vec<&str> = way.iter().map(|&index| &*written[index].path).collect();
                let first = needs[start].iter().find(|need| way.get(1) == Some(&need.group));
                let place = first.map_or(0..0, |need| need.place.clone());
                return Some(FilterError::new(place, format!("the group refers to itself: {}", names.join(" > "))));
            }
            if !came.contains_key(&need.group) && need.group != start {
                came.insert(need.group, at);
                queue.push_back(need.group);
            }
        }
    }
    let need = needs[start].iter().find(|need| waiting.contains(&need.group))?;
    let message = format!("the group `{}` refers to itself", written[need.group].path);
    Some(FilterError::new(need.place.clone(), message))
}
