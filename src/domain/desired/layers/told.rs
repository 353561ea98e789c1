//! What a mapping written `null` as a whole took away, for whoever tells how values came to be. It counts for nothing, so it comes
//! before everything that does.

use super::{Layers, Said, Whose, Written, entries, own_setting, own_variables};
use crate::domain::ids::{AppName, ServiceName, VariableName};
use crate::domain::manifest::compose::Service;
use crate::domain::manifest::vars::{Merge, TypedKeys};
use crate::domain::manifest::yaml::Span;
use std::collections::BTreeSet;
use std::sync::Arc;

impl<'a> Layers<'a> {
    /// Visits what [`Layers::entries`] does, after everything that was taken away: each with its values, and then the `null`.
    pub fn told<K: Ord + 'a, V: 'a>(
        &self,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Merge<K, V>>,
        mut visit: impl FnMut(&'a K, Written<'a, V>),
    ) {
        self.taken_away(&pick, &mut visit);
        self.entries(pick, visit);
    }

    fn taken_away<K: Ord + 'a, V: 'a>(
        &self,
        pick: &impl Fn(&'a TypedKeys) -> Option<&'a Merge<K, V>>,
        visit: &mut impl FnMut(&'a K, Written<'a, V>),
    ) {
        let first = self.first_that_counts(|vars| pick(&vars.typed).map(|merge| merge.base));
        let mut taken = BTreeSet::new();
        for vars in self.sources().take(first) {
            let Some(merge) = pick(&vars.typed) else { continue };
            for (key, setting) in &merge.entries {
                visit(key, Written { file: &vars.file, span: setting.span, value: setting.value.as_ref() });
                taken.insert(key);
            }
        }
        let taker = self.sources().nth(first).and_then(|vars| Some((&vars.file, pick(&vars.typed)?.span)));
        if let Some((file, span)) = taker {
            taken.into_iter().for_each(|key| visit(key, Written { file, span, value: None }));
        }
    }

    /// Visits what [`Layers::environment`] does, after everything that was taken away.
    pub fn environment_told(
        &self,
        compose_file: &'a Arc<str>,
        app: &AppName,
        name: &ServiceName,
        service: &'a Service,
        mut visit: impl FnMut(&'a VariableName, Said<'a>),
    ) {
        self.taken_away(&|keys| keys.variables.as_ref(), &mut |variable, Written { file, span, value }| {
            visit(variable, Said { file, span, value: value.map(super::words) });
        });
        self.own_taken_away(app, name, &mut visit);
        self.environment(compose_file, app, name, service, visit);
    }

    /// What `services: null`, `services.<name>: null` or `services.<name>.variables: null` took away.
    fn own_taken_away(&self, app: &AppName, name: &ServiceName, visit: &mut impl FnMut(&'a VariableName, Said<'a>)) {
        let cuts = self.service_cuts(app, name);
        for whose in [Whose::Any, Whose::App] {
            let first = cuts.services.max(cuts.of(whose));
            let mut taken = BTreeSet::new();
            for vars in self.sources().take(first) {
                let Some(merge) = own_variables(vars, whose, app, name) else { continue };
                entries(vars, merge, visit);
                taken.extend(merge.entries.keys());
            }
            let taker = self.sources().nth(first).and_then(|vars| {
                let whole = vars.typed.services.as_ref().filter(|_| first == cuts.services).map(|merge| merge.span);
                let span: Span = whole.or_else(|| own_setting(vars, whose, app, name).map(|setting| setting.span))?;
                Some((&vars.file, span))
            });
            if let Some((file, span)) = taker {
                taken.into_iter().for_each(|variable| visit(variable, Said { file, span, value: None }));
            }
        }
    }
}
