//! The images that a Compose file names, and the same file with other names for them.

use crate::domain::manifest::compose::{FillError, SHORT_FORM_SERVICE, fill, set};
use crate::domain::manifest::edit::{EditError, find, set_at_source};
use crate::domain::manifest::yaml::{Field, Kind, Map, Node, YamlError, parse};
use std::collections::{BTreeMap, BTreeSet};

/// The image of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceImage {
    /// The service; `main` in the short form.
    pub service: String,
    /// As it is written.
    pub written: String,
    /// With the defaults of its variables, as devices would have it.
    pub image: String,
    path: Vec<String>,
    /// The first byte of the key.
    at: u32,
}

/// Why the images of a Compose file are not known, or cannot be written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ImagesError {
    /// It cannot be read.
    #[error("line {}: {}", .0.span.line, .0.message)]
    Yaml(YamlError),
    /// It is no Compose file.
    #[error("it has neither `services` nor, for one service in the short form, an `image`")]
    NoServices,
    /// An image hangs on something that nothing sets.
    #[error("line {line}: the image of `{service}`: {source}")]
    Variable {
        /// The service.
        service: String,
        /// The line.
        line: u32,
        /// Why.
        source: FillError,
    },
    /// A value was given for a variable that the file does not have.
    #[error("nothing in the file is `${{{0}}}`")]
    Unused(String),
    /// The name cannot be written.
    #[error("the image of `{service}` cannot be written: {source}")]
    Edit {
        /// The service.
        service: String,
        /// Why.
        source: EditError,
    },
}

impl ImagesError {
    /// What to do about it, if somebody knows.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Yaml(error) => error.hint,
            Self::NoServices => Some("name a Compose file: docs/compose.md says what can stand in it"),
            Self::Variable { source: FillError::Unset(_), .. } => Some(
                "give it with `--set NAME=VALUE`, write the name out, or give the variable a default as in `${TAG:-1.0}`",
            ),
            Self::Variable { source: FillError::Invalid, .. } => Some("write the name out"),
            Self::Unused(_) => Some("leave out its `--set`, or look for another spelling in the file"),
            Self::Edit { .. } => {
                Some("write the image where nothing but services has it, or leave tags as they are with `--keep-tags`")
            }
        }
    }
}

/// The Compose file with these values in the place of its variables; everything else stays as it is, comments too. Values hold
/// nothing that YAML gives a meaning.
pub fn with_values(text: &str, values: &BTreeMap<String, String>) -> Result<String, ImagesError> {
    if values.is_empty() {
        return Ok(text.to_owned());
    }
    let mut spans = BTreeSet::new();
    if let Some(root) = parse(text.as_bytes()).map_err(ImagesError::Yaml)? {
        scalars(&root, &mut spans);
    }
    let mut used = BTreeSet::new();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (start, end) in spans {
        // Aliases stand where they repeat, and are no words.
        let (Some(between), Some(scalar)) = (text.get(at..start), text.get(start..end)) else { continue };
        out.push_str(between);
        out.push_str(&set(scalar, values, &mut used));
        at = end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    match values.keys().find(|name| !used.contains(*name)) {
        Some(name) => Err(ImagesError::Unused(name.clone())),
        None => Ok(out),
    }
}

/// Where values with variables stand, as bytes.
fn scalars(node: &Node, spans: &mut BTreeSet<(usize, usize)>) {
    match &node.kind {
        Kind::Scalar(scalar) if scalar.text.contains('$') => {
            spans.insert((node.span.start as usize, node.span.end as usize));
        }
        Kind::Scalar(_) => {}
        Kind::List(items) => items.iter().for_each(|item| scalars(item, spans)),
        Kind::Map(map) => map.entries.iter().for_each(|field| scalars(&field.value, spans)),
    }
}

/// The image of each service, in the order of the file. A service without one is a finding of whoever checks the release.
pub fn images(text: &str) -> Result<Vec<ServiceImage>, ImagesError> {
    let root = parse(text.as_bytes()).map_err(ImagesError::Yaml)?;
    let Some(Kind::Map(root)) = root.map(|node| node.kind) else { return Err(ImagesError::NoServices) };
    match (root.value("services"), root.entries.iter().find(|field| &*field.key.text == "image")) {
        (Some(Node { kind: Kind::Map(services), .. }), _) => of_services(services),
        (Some(_), _) | (None, None) => Err(ImagesError::NoServices),
        (None, Some(field)) => {
            let path = vec!["image".to_owned()];
            Ok(of_service(SHORT_FORM_SERVICE, field, path)?.into_iter().collect())
        }
    }
}

fn of_services(services: &Map) -> Result<Vec<ServiceImage>, ImagesError> {
    let mut images = Vec::new();
    for service in services.entries.iter().filter(|service| !service.key.text.starts_with("x-")) {
        let Kind::Map(map) = &service.value.kind else { continue };
        let name = &service.key.text;
        let path = vec!["services".to_owned(), name.to_string(), "image".to_owned()];
        if let Some(field) = map.entries.iter().find(|field| &*field.key.text == "image") {
            images.extend(of_service(name, field, path)?);
        }
    }
    Ok(images)
}

fn of_service(service: &str, field: &Field, path: Vec<String>) -> Result<Option<ServiceImage>, ImagesError> {
    let Kind::Scalar(written) = &field.value.kind else { return Ok(None) };
    if field.value.is_null() {
        return Ok(None);
    }
    let filled = fill(&written.text).map_err(|source| {
        let (service, line) = (service.to_owned(), field.value.span.line);
        ImagesError::Variable { service, line, source }
    })?;
    let (service, written, image) = (service.to_owned(), written.text.to_string(), filled.text);
    let image = ServiceImage { service, written, image, path, at: field.key.span.start };
    Ok(Some(image).filter(|image| !image.image.is_empty()))
}

/// The Compose file with these names for the images of its services; everything else stays as it is. An image that several services
/// have from one place, by an alias or a merge key, is written at that place.
pub fn with_images(text: &str, names: &BTreeMap<String, String>) -> Result<String, ImagesError> {
    let mut images = images(text)?;
    // What is an alias stands after what it repeats: once it has its own words, that can change without it.
    images.sort_by_key(|image| std::cmp::Reverse(image.at));
    let mut text = text.to_owned();
    for ServiceImage { service, path, .. } in images {
        let Some(name) = names.get(&service) else { continue };
        let now = find(&text, &path).and_then(|found| found.scalar);
        if now.is_some_and(|scalar| *scalar.text == **name) {
            continue;
        }
        text = set_at_source(&text, &path, name).map_err(|source| ImagesError::Edit { service, source })?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The images, and the file with each of them by digest.
    fn named(text: &str) -> String {
        let all = match images(text) {
            Ok(all) => all,
            Err(error) => return format!("{error} ({})", error.hint().unwrap_or_default()),
        };
        let digest = |image: &ServiceImage| (image.service.clone(), format!("{}@sha256:0", image.image));
        let named = with_images(text, &all.iter().map(digest).collect()).unwrap_or_else(|error| error.to_string());
        let all: Vec<String> = all.iter().map(|one| format!("{}={}", one.service, one.image)).collect();
        format!("{}\n{named}", all.join(" "))
    }

    #[test]
    fn the_short_form_is_a_file_too() {
        insta::assert_snapshot!(named("image: web:1 # ours\nrestart: always\n"), @r#"
        main=web:1
        image: web:1@sha256:0 # ours
        restart: always
        "#);
    }

    #[test]
    fn services_that_share_an_image_have_it_written_where_it_stands() {
        insta::assert_snapshot!(named("services:\n  b: &b\n    image: 'web:1' # ours\n  c: *b\n  d: { <<: *b }\n  e:\n    <<: *b\n    restart: 'no'\n"), @r#"
        b=web:1 c=web:1 d=web:1 e=web:1
        services:
          b: &b
            image: 'web:1@sha256:0' # ours
          c: *b
          d: { <<: *b }
          e:
            <<: *b
            restart: 'no'
        "#);
        insta::assert_snapshot!(named("x-base: &base { image: web:1, init: true }\nservices:\n  a: { <<: *base }\n  b: *base\n  c: { <<: *base, image: own:2 }\n"), @r#"
        a=web:1 b=web:1 c=own:2
        x-base: &base { image: web:1@sha256:0, init: true }
        services:
          a: { <<: *base }
          b: *base
          c: { <<: *base, image: own:2@sha256:0 }
        "#);
        insta::assert_snapshot!(named("x-image: &image web:1\nservices:\n  a: { image: *image }\n  b:\n    image: &other other:1\n  c:\n    image: *other\n"), @r#"
        a=web:1 b=other:1 c=other:1
        x-image: &image web:1
        services:
          a: { image: web:1@sha256:0 }
          b:
            image: &other other:1@sha256:0
          c:
            image: other:1@sha256:0
        "#);
        insta::assert_snapshot!(named("x-services: &all\n  a: { image: web:1 }\nservices: *all\n"), @r#"
        a=web:1
        x-services: &all
          a: { image: web:1@sha256:0 }
        services: *all
        "#);
    }

    #[test]
    fn a_name_that_says_something_else_too_is_left_alone() {
        insta::assert_snapshot!(named("services:\n  a:\n    image: &image web:1\n    environment: { RUNS: *image }\n"), @r#"
        a=web:1
        the image of `a` cannot be written: changing `services.a.image` would change something else too
        "#);
    }

    #[test]
    fn variables_have_their_defaults_or_are_refused() {
        insta::assert_snapshot!(named("services:\n  a: { image: \"web:${TAG:-1}\" }\n  b:\n    image: ${NAME-db}:2\n"), @r#"
        a=web:1 b=db:2
        services:
          a: { image: "web:1@sha256:0" }
          b:
            image: db:2@sha256:0
        "#);
        insta::assert_snapshot!(named("services:\n  a:\n    image: web:${TAG}\n"), @"line 3: the image of `a`: the variable `TAG` is not set: Compose would take it from the shell, and there is none here (give it with `--set NAME=VALUE`, write the name out, or give the variable a default as in `${TAG:-1.0}`)");
        insta::assert_snapshot!(named("services:\n  a:\n    image: web:${TAG:?}\n"), @"line 3: the image of `a`: the variable `TAG` is not set: Compose would take it from the shell, and there is none here (give it with `--set NAME=VALUE`, write the name out, or give the variable a default as in `${TAG:-1.0}`)");
        insta::assert_snapshot!(named("services:\n  a:\n    image: web:${\n"), @"line 3: the image of `a`: a `$` stands before something that is not the name of a variable (write the name out)");
    }

    #[test]
    fn given_values_are_written_where_their_variables_stood_and_nowhere_else() {
        let text = "# ${TAG} is the version\nservices:\n  a:\n    image: \"web:${TAG}\" # ${TAG}\n    command: [run, '${TAG}', $$TAG]\n    \
                    environment: &e\n      VERSION: ${TAG:-none}\n      OTHER: ${OTHER:-x}\n  b: { image: 'db:1', environment: *e }\n";
        let values = |name: &str| [(name.to_owned(), "1.2.0".to_owned())].into();
        insta::assert_snapshot!(with_values(text, &values("TAG")).expect("it is used"), @r#"
        # ${TAG} is the version
        services:
          a:
            image: "web:1.2.0" # ${TAG}
            command: [run, '1.2.0', $$TAG]
            environment: &e
              VERSION: 1.2.0
              OTHER: ${OTHER:-x}
          b: { image: 'db:1', environment: *e }
        "#);
        let unused = with_values(text, &values("TAGS")).expect_err("it is not used");
        insta::assert_snapshot!(unused, @"nothing in the file is `${TAGS}`");
    }

    #[test]
    fn other_files_are_refused() {
        for text in ["", "a: 1\n", "services: []\n", "- image: web:1\n"] {
            assert_eq!(images(text), Err(ImagesError::NoServices), "{text}");
        }
        insta::assert_snapshot!(named("services: [\n"), @"line 1: unclosed bracket '[' ()");
        assert_eq!(images("services: { x-a: { image: web }, b: { image: }, c: { build: . }, d: }\n"), Ok(Vec::new()));
    }
}
