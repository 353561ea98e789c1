//! The answer for one device, by looking at everything that is asked.

use super::facts::{Facts, Found};
use super::{Answer, DynamicGroups, Predicate, Relation, Term, Test, relate};

/// What a filter answers for a device.
pub fn evaluate(test: &Test, facts: &Facts<'_>, groups: &DynamicGroups) -> Answer {
    Evaluation { facts, groups, known: vec![None; groups.len()] }.answer(test)
}

/// What is known of a value that is there and cannot be read.
pub fn closed(predicate: &Predicate) -> Answer {
    match predicate {
        Predicate::Present => Answer::Yes,
        Predicate::Compare(..)
        | Predicate::OneOf(..)
        | Predicate::StartsWith(_)
        | Predicate::EndsWith(_)
        | Predicate::Contains(_)
        | Predicate::Matches(_) => Answer::Unknown,
    }
}

/// One device's evaluation. Answers of dynamic groups are kept: they refer to each other, and each is asked once.
struct Evaluation<'a> {
    facts: &'a Facts<'a>,
    groups: &'a DynamicGroups,
    known: Vec<Option<Answer>>,
}

impl Evaluation<'_> {
    fn answer(&mut self, test: &Test) -> Answer {
        match test {
            Test::Is(answer) => *answer,
            Test::Not(test) => self.answer(test).opposite(),
            Test::All(tests) => {
                let mut all = Answer::Yes;
                for test in tests {
                    all = all.and(self.answer(test));
                    if all == Answer::No {
                        break;
                    }
                }
                all
            }
            Test::Any(tests) => {
                let mut any = Answer::No;
                for test in tests {
                    any = any.or(self.answer(test));
                    if any == Answer::Yes {
                        break;
                    }
                }
                any
            }
            Test::One(attribute, predicate) => match self.facts.find(attribute) {
                Found::Value(value) => predicate.holds(&value).into(),
                Found::Absent => Answer::No,
                Found::Closed => closed(predicate),
                Found::Unknown => Answer::Unknown,
            },
            Test::Two(left, relation, right) => self.compare(left, *relation, right),
            Test::InGroup(group) => match self.facts.groups {
                Some(groups) => groups.contains(&**group).into(),
                None => Answer::Unknown,
            },
            Test::InDynamic(group) => self.dynamic(*group),
        }
    }

    fn dynamic(&mut self, group: usize) -> Answer {
        if let Some(answer) = self.known.get(group).copied().flatten() {
            return answer;
        }
        let groups = self.groups;
        let Some(test) = groups.test(group) else { return Answer::No };
        let answer = self.answer(test);
        self.known[group] = Some(answer);
        answer
    }

    fn compare(&self, left: &Term, relation: Relation, right: &Term) -> Answer {
        match (self.value(left), self.value(right)) {
            (Found::Absent, _) | (_, Found::Absent) => Answer::No,
            (Found::Unknown | Found::Closed, _) | (_, Found::Unknown | Found::Closed) => Answer::Unknown,
            (Found::Value(left), Found::Value(right)) => relate(Some(&left), relation, Some(&right)).into(),
        }
    }

    fn value(&self, term: &Term) -> Found {
        match self.facts.find(&term.attribute) {
            Found::Value(value) => value.read(term.reading).map_or(Found::Absent, Found::Value),
            other => other,
        }
    }
}
