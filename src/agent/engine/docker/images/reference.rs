//! The parts of an image's reference.

/// The registry of names that say none.
const DEFAULT_REGISTRY: &str = "docker.io";

/// An image's reference, taken apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::agent::engine::docker) struct Named {
    pub(super) registry: String,
    pub(super) repository: String,
    /// The SHA-256 that pins it, in hexadecimal.
    pub(in crate::agent::engine::docker) hex: Option<String>,
    /// The tag, if there is no digest.
    pub(super) tag: Option<String>,
}

impl Named {
    /// Never fails: what makes no sense is for the engine to refuse.
    pub(in crate::agent::engine::docker) fn parse(image: &str) -> Self {
        let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            Some(_) | None => (DEFAULT_REGISTRY, name),
        };
        let (repository, tag) = rest.rsplit_once(':').map_or((rest, None), |(rest, tag)| (rest, Some(tag)));
        let repository = match repository.contains('/') {
            false if registry == DEFAULT_REGISTRY => format!("library/{repository}"),
            _ => repository.to_owned(),
        };
        let hex = digest.and_then(|digest| digest.strip_prefix("sha256:"));
        let tag = if digest.is_some() { None } else { tag.or(Some("latest")) };
        Self { registry: registry.to_owned(), repository, hex: hex.map(str::to_owned), tag: tag.map(str::to_owned) }
    }

    /// The same image at a mirror, `HOST[:PORT][/PREFIX]`. Only a digest says that it is the same, so there is none without one.
    pub(super) fn at(&self, mirror: &str) -> Option<String> {
        let hex = self.hex.as_ref()?;
        Some(format!("{}/{}@sha256:{hex}", mirror.trim_end_matches('/'), self.repository))
    }

    /// Whether it is an image of this mirror.
    pub(super) fn is_below(&self, mirror: &str) -> bool {
        let name = format!("{}/{}", self.registry, self.repository);
        name.strip_prefix(mirror.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::Named;

    fn check(image: &str, registry: &str, repository: &str, pin: &str) {
        let Named { registry: found, repository: below, hex, tag } = Named::parse(image);
        let found_pin = hex.map(|hex| format!("@{hex}")).or(tag).unwrap_or_default();
        assert_eq!((found.as_str(), below.as_str(), found_pin.as_str()), (registry, repository, pin), "{image}");
    }

    #[test]
    fn references_are_taken_apart() {
        check("busybox", "docker.io", "library/busybox", "latest");
        check("team/app:1", "docker.io", "team/app", "1");
        check("localhost/app", "localhost", "app", "latest");
        check("10.0.0.1:5000/app@sha256:00", "10.0.0.1:5000", "app", "@00");
        check("ghcr.io/a/b/c:2@sha256:ab", "ghcr.io", "a/b/c", "@ab");
    }

    #[test]
    fn a_mirror_has_the_same_image_under_another_name() {
        let named = Named::parse("ghcr.io/team/app@sha256:ab");
        assert_eq!(named.at("mirror:5000/ghcr/").as_deref(), Some("mirror:5000/ghcr/team/app@sha256:ab"));
        assert!(Named::parse("mirror:5000/ghcr/team/app@sha256:ab").is_below("mirror:5000/ghcr"));
        assert!(!Named::parse("mirror:5000/ghcrx/app@sha256:ab").is_below("mirror:5000/ghcr"));
        assert_eq!(Named::parse("ghcr.io/team/app:1").at("mirror:5000"), None, "a tag can mean anything elsewhere");
    }
}
