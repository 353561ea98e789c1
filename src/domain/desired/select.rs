//! Finding the values that a person means by a key.

use super::{Explained, Explanation};
use crate::domain::manifest::near::nearest;
use std::collections::BTreeSet;

impl Explanation {
    /// The values that a key names: itself and what is below it; a variable of the environment as `URL`, `variables.URL`,
    /// `services.web.variables.URL` or `app/web.environment.URL`; a free variable by its name, with or without `vars.`.
    pub fn selected(&self, key: &str) -> Vec<&Explained> {
        let key = match key {
            "subscribed_branch" => "branch",
            "variables" => "environment",
            key => key,
        };
        let exact: Vec<&Explained> = self.values.iter().filter(|one| is_or_is_below(&one.key, key)).collect();
        if !exact.is_empty() {
            return exact;
        }
        self.values.iter().filter(|one| names(&one.key).iter().any(|name| is_or_is_below(name, key))).collect()
    }

    /// A key that is spelled almost like this one.
    pub fn near(&self, key: &str) -> Option<String> {
        let mut known: BTreeSet<String> = BTreeSet::new();
        for one in &self.values {
            known.extend(names(&one.key));
            known.insert(one.key.clone());
            // What stands above it can be asked for too.
            known.extend(one.key.match_indices('.').map(|(end, _)| one.key[..end].to_owned()));
        }
        nearest(key, known.iter().map(String::as_str)).map(str::to_owned)
    }
}

fn is_or_is_below(key: &str, above: &str) -> bool {
    key.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
}

/// Other names of a key, as people write them in the files.
fn names(key: &str) -> Vec<String> {
    if let Some(free) = key.strip_prefix("vars.") {
        return vec![free.to_owned()];
    }
    let Some((service, variable)) = key.split_once(".environment.") else {
        return key.rsplit('.').next().map(str::to_owned).into_iter().collect();
    };
    let plain = service.rsplit('/').next().unwrap_or(service);
    vec![
        variable.to_owned(),
        format!("environment.{variable}"),
        format!("variables.{variable}"),
        format!("services.{plain}.variables.{variable}"),
        format!("services.{service}.variables.{variable}"),
    ]
}
