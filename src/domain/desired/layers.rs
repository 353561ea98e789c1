//! Layers of variables, from low to high, and how one is laid over another.
//!
//! Resolving and explaining go through the same functions, so an explanation cannot differ from what a device gets.

mod told;

use crate::domain::ids::{AppName, ServiceName, VariableName};
use crate::domain::manifest::compose::Service;
use crate::domain::manifest::read::Setting;
use crate::domain::manifest::template::{Template, Value};
use crate::domain::manifest::vars::{Base, Merge, TypedKeys, Variables, Vars, Wording};
use crate::domain::manifest::yaml::Span;
use std::sync::Arc;

/// Everything that groups say to the hosts in them, from low to high: shared by all hosts in the same groups.
#[derive(Debug, Default)]
pub struct Stack {
    /// The groups, in order, `all` left out.
    pub groups: Vec<Arc<str>>,
    /// The layers.
    pub layers: Vec<Layer>,
}

impl Stack {
    /// Whether it says the same to every host in its groups.
    pub fn says_the_same_to_all(&self) -> bool {
        self.layers.iter().flatten().all(|vars| vars.wording == Wording::Plain)
    }
}

/// One step of the precedence: one or several files that count as one.
pub type Layer = Vec<Arc<Vars>>;

/// The layers of one device, from low to high.
#[derive(Clone, Debug)]
pub struct Layers<'a>(pub Vec<&'a [Arc<Vars>]>);

/// A value where it is written. `None` is `null`, which removes.
#[derive(Debug)]
pub struct Written<'a, T: ?Sized> {
    /// The file.
    pub file: &'a Arc<str>,
    /// Where in it.
    pub span: Span,
    /// The value.
    pub value: Option<&'a T>,
}

impl<T: ?Sized> Clone for Written<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Written<'_, T> {}

/// A variable of an environment where it is written. `None` is `null`, which removes.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    /// The file.
    pub file: &'a Arc<str>,
    /// Where in it.
    pub span: Span,
    /// The value.
    pub value: Option<Words<'a>>,
}

/// A value of a variable as written.
#[derive(Clone, Copy, Debug)]
pub enum Words<'a> {
    /// Text.
    Text(&'a str),
    /// A template.
    Template(&'a Template),
}

impl<'a> Layers<'a> {
    /// All files, from low to high.
    pub fn sources(&self) -> impl Iterator<Item = &'a Arc<Vars>> + '_ {
        self.0.iter().flat_map(|layer| layer.iter())
    }

    /// Every place where a single value is written, from low to high.
    pub fn written<T: 'a>(
        &self,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Setting<T>> + 'a,
    ) -> impl Iterator<Item = Written<'a, T>> + '_ {
        self.sources().filter_map(move |vars| {
            pick(&vars.typed).map(|setting| Written {
                file: &vars.file,
                span: setting.span,
                value: setting.value.as_ref(),
            })
        })
    }

    /// Visits every entry of a mapping that counts, from low to high.
    pub fn entries<K: Ord + 'a, V: 'a>(
        &self,
        pick: impl Fn(&'a TypedKeys) -> Option<&'a Merge<K, V>>,
        mut visit: impl FnMut(&'a K, Written<'a, V>),
    ) {
        let first = self.first_that_counts(|vars| pick(&vars.typed).map(|merge| merge.base));
        for vars in self.sources().skip(first) {
            let Some(merge) = pick(&vars.typed) else { continue };
            for (key, setting) in &merge.entries {
                visit(key, Written { file: &vars.file, span: setting.span, value: setting.value.as_ref() });
            }
        }
    }

    /// A mapping written `null` as a whole takes away all that comes before it.
    fn first_that_counts(&self, base: impl Fn(&'a Vars) -> Option<Base>) -> usize {
        self.sources()
            .enumerate()
            .filter(|(_, vars)| base(vars) == Some(Base::Empty))
            .map(|(index, _)| index)
            .last()
            .unwrap_or(0)
    }

    /// Visits every variable of a service, from low to high: Compose, then each layer with `variables` before
    /// `services.<name>.variables` and the service's own name before `app/service`.
    pub fn environment(
        &self,
        compose_file: &'a Arc<str>,
        app: &AppName,
        name: &ServiceName,
        service: &'a Service,
        mut visit: impl FnMut(&'a VariableName, Said<'a>),
    ) {
        for (variable, setting) in &service.environment {
            let value = setting.value.as_deref().map(Words::Text);
            visit(variable, Said { file: compose_file, span: setting.span, value });
        }
        let cuts = self.service_cuts(app, name);
        let mut index = 0;
        for layer in &self.0 {
            let first = index;
            for vars in *layer {
                if let Some(merge) = vars.typed.variables.as_ref().filter(|_| index >= cuts.variables) {
                    entries(vars, merge, &mut visit);
                }
                index += 1;
            }
            for whose in [Whose::Any, Whose::App] {
                for (index, vars) in (first..).zip(*layer) {
                    let after = index >= cuts.services && index >= cuts.of(whose);
                    if let Some(merge) = own_variables(vars, whose, app, name).filter(|_| after) {
                        entries(vars, merge, &mut visit);
                    }
                }
            }
        }
    }

    /// From which source on each of the mappings counts.
    fn service_cuts(&self, app: &AppName, name: &ServiceName) -> Cuts {
        let own = |whose: Whose| {
            self.first_that_counts(|vars| {
                // Either `services.<name>: null`, or `services.<name>.variables: null`.
                let setting = own_setting(vars, whose, app, name)?;
                Some(setting.value.as_ref().map_or(Base::Empty, |merge| merge.base))
            })
        };
        Cuts {
            variables: self.first_that_counts(|vars| vars.typed.variables.as_ref().map(|merge| merge.base)),
            services: self.first_that_counts(|vars| vars.typed.services.as_ref().map(|merge| merge.base)),
            any: own(Whose::Any),
            app: own(Whose::App),
        }
    }
}

struct Cuts {
    variables: usize,
    services: usize,
    any: usize,
    app: usize,
}

impl Cuts {
    fn of(&self, whose: Whose) -> usize {
        match whose {
            Whose::Any => self.any,
            Whose::App => self.app,
        }
    }
}

/// How a key of `services` names its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// `service`
    Any,
    /// `app/service`
    App,
}

fn own_setting<'a>(vars: &'a Vars, whose: Whose, app: &AppName, name: &ServiceName) -> Option<&'a Setting<Variables>> {
    let services = vars.typed.services.as_ref()?;
    services
        .entries
        .iter()
        .find(|(key, _)| {
            key.service == *name
                && match whose {
                    Whose::Any => key.app.is_none(),
                    Whose::App => key.app.as_ref() == Some(app),
                }
        })
        .map(|(_, setting)| setting)
}

fn own_variables<'a>(vars: &'a Vars, whose: Whose, app: &AppName, name: &ServiceName) -> Option<&'a Variables> {
    own_setting(vars, whose, app, name)?.value.as_ref()
}

fn entries<'a>(vars: &'a Vars, merge: &'a Variables, visit: &mut impl FnMut(&'a VariableName, Said<'a>)) {
    for (name, setting) in &merge.entries {
        visit(name, Said { file: &vars.file, span: setting.span, value: setting.value.as_ref().map(words) });
    }
}

fn words(value: &Value<String>) -> Words<'_> {
    match value {
        Value::Known(text) => Words::Text(text),
        Value::Template(template) => Words::Template(template),
    }
}
