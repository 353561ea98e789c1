//! Where lists of devices come from that are kept outside the fleet repo.

/// What a source answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A list, and by what the source can tell the next time whether it is still the newest. It is genuine: whoever may speak for
    /// the source has signed it, or sent it over a connection that proves who both sides are.
    List {
        /// The list as it was sent.
        bytes: Vec<u8>,
        /// The source's mark.
        etag: Option<String>,
    },
    /// The list that has the given mark is still the newest.
    NotModified,
    /// Something came that does not count, and why.
    Refused(String),
    /// Nothing came, and why.
    Unavailable(String),
}

/// One source.
pub trait ListSource: Send {
    /// The address by which fleet repos name it.
    fn url(&self) -> &str;

    /// Asks for the newest list. `etag` is the mark of the one that is known.
    fn ask(&mut self, etag: Option<&str>) -> Answer;
}
