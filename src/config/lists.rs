//! The settings about lists of devices: which addresses fleet repos may name, and how it is made sure who answers there.

use super::fragment::{Given, ListGiven};
use super::settings::{Check, path, wrong};
use crate::domain::finding::codes;
use crate::domain::manifest::problems::show;
use crate::lists::{ClientFiles, SourceSettings};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// How many sources there can be. Each has a thread.
pub(super) const MAX_LISTS: usize = 16;

impl Check<'_> {
    /// The sources of lists.
    pub(super) fn lists(&mut self) -> Option<Vec<SourceSettings>> {
        let Some(given) = self.inputs.all.lists.clone() else { return Some(Vec::new()) };
        if given.value.len() > MAX_LISTS {
            let message = format!("there are {} inventories; at most {MAX_LISTS} are accepted", given.value.len());
            self.tell(&given.place, wrong(codes::TOO_LARGE, message));
            return None;
        }
        let mut seen = BTreeSet::new();
        let lists: Vec<Option<SourceSettings>> = given.value.iter().map(|one| self.list(one, &mut seen)).collect();
        lists.into_iter().collect()
    }

    fn list(&mut self, given: &ListGiven, seen: &mut BTreeSet<String>) -> Option<SourceSettings> {
        let ListGiven { url: written, signature, signed_by, ca, cert, key } = given;
        let url = self.parse(written, address)?;
        if !seen.insert(url.clone()) {
            let message = format!("the inventory `{}` is listed twice", show(&url));
            self.tell(&written.place, wrong(codes::DUPLICATE_KEY, message));
        }
        let signature = match signature {
            Some(given) => Some(self.parse(given, address)?),
            None => None,
        };
        let signed_by = self.file(signed_by)?;
        let ca = self.file(ca)?;
        let client = match (self.file(cert)?, self.file(key)?) {
            (Some(cert), Some(key)) => Some(ClientFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.tell(&written.place, wrong(codes::MISSING_KEY, "`cert` and `key` belong together"));
                return None;
            }
        };
        if client.is_some() && ca.is_none() {
            let problem = wrong(codes::MISSING_KEY, "`cert` without `ca`: anybody could be at the other end")
                .hint("name the authority that vouches for the server with `ca`");
            self.tell(&written.place, problem);
            return None;
        }
        if signed_by.is_none() && client.is_none() {
            let message = "nothing proves that a list from there is genuine";
            let hint = "name the keys that sign it with `signed_by`, or use mTLS with `ca`, `cert` and `key`";
            self.tell(&written.place, wrong(codes::MISSING_KEY, message).hint(hint));
            return None;
        }
        Some(SourceSettings { url, signed_by, signature, ca, client })
    }

    fn file(&mut self, given: &Option<Given>) -> Option<Option<PathBuf>> {
        match given {
            None => Some(None),
            Some(given) => self.parse(given, |text| path(text, &given.place.folder)).map(Some),
        }
    }
}

fn address(text: &str) -> Result<String, super::settings::Wrong> {
    let host = text.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let fits = text.bytes().all(|byte| byte.is_ascii_graphic())
        && text.len() <= 2048
        && host.is_some_and(|host| !host.is_empty() && !host.contains('@'));
    match fits {
        true => Ok(text.to_owned()),
        false => Err(wrong(codes::BAD_VALUE, "this is not an address of a list of devices")
            .hint("write `https://…` without a user or a password")),
    }
}
