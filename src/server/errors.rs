//! The one place where refusals become HTTP.

use crate::controller::owner::CommandError;
use crate::controller::watch::{BranchError, VariantError};
use crate::domain::acts::enroll::EnrollError;
use crate::domain::acts::operator::ActError;
use crate::domain::acts::report::ReportError;
use crate::domain::plan::rollouts::{DraftError, RolloutActError};
use crate::protocol::v1::messages::ErrorBody;
use axum::Json;
use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;

/// An answer that is not the one that was asked for.
#[derive(Debug)]
pub struct Refused {
    status: StatusCode,
    body: ErrorBody,
    retry_after_secs: Option<u32>,
}

impl Refused {
    /// A refusal with a status, a word for programs and a sentence for people.
    pub fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let body = ErrorBody { code: code.to_owned(), message: message.into(), hint: None };
        Self { status, body, retry_after_secs: None }
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: &str) -> Self {
        self.body.hint = Some(hint.to_owned());
        self
    }

    /// The same with the number of seconds after which asking again makes sense.
    pub fn retry_after(mut self, secs: u32) -> Self {
        self.retry_after_secs = Some(secs);
        self
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let mut response = (self.status, Json(self.body)).into_response();
        if let Some(secs) = self.retry_after_secs {
            response.headers_mut().insert(axum::http::header::RETRY_AFTER, secs.into());
        }
        response
    }
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        let message = error.to_string();
        match error {
            CommandError::Act(act) => match act {
                ActError::NothingHeld { .. } => Self::new(StatusCode::NOT_FOUND, "nothing-held", message)
                    .hint("see `bellwether status`; the digest changes when the held changes do"),
                ActError::Ambiguous { .. } => {
                    Self::new(StatusCode::CONFLICT, "ambiguous", message).hint("give more digits")
                }
                ActError::UnknownDevice(_) => Self::new(StatusCode::NOT_FOUND, "unknown-device", message),
                ActError::NotEnrolled(_) => Self::new(StatusCode::CONFLICT, "not-enrolled", message),
                ActError::NoOpenAction { .. } => Self::new(StatusCode::NOT_FOUND, "no-open-action", message)
                    .hint("`bellwether device actions DEVICE` lists them"),
                ActError::NoSuchService { .. } => Self::new(StatusCode::NOT_FOUND, "no-such-service", message)
                    .hint("`bellwether device DEVICE` shows what is assigned"),
                ActError::UnknownStage(_) => Self::new(StatusCode::NOT_FOUND, "unknown-stage", message),
                ActError::NotPending(_) => Self::new(StatusCode::CONFLICT, "not-pending", message),
                ActError::NothingToRetry(_) => Self::new(StatusCode::CONFLICT, "nothing-to-retry", message),
                ActError::NotHeld(_) => Self::new(StatusCode::CONFLICT, "not-held", message),
                ActError::EpochMoved { .. } => Self::new(StatusCode::CONFLICT, "epoch-moved", message)
                    .hint("somebody raised it meanwhile; see `bellwether events fleet` before raising it again"),
                ActError::OutOfRange { .. } => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "out-of-range", message),
            },
            CommandError::Rollout(rollout) => match rollout {
                RolloutActError::Unknown(_) => {
                    Self::new(StatusCode::NOT_FOUND, "unknown-rollout", message).hint("`bellwether rollouts` lists all")
                }
                RolloutActError::Unread(_) => {
                    Self::new(StatusCode::SERVICE_UNAVAILABLE, "stage-unread", message).retry_after(5)
                }
                RolloutActError::Outdated { .. } => Self::new(StatusCode::CONFLICT, "outdated", message),
                RolloutActError::Replaced { .. } => Self::new(StatusCode::CONFLICT, "replaced", message),
                RolloutActError::Reroute(_) => Self::new(StatusCode::CONFLICT, "cannot-reroute", message)
                    .hint("`bellwether rollout failures NAME` lists who failed, and `bellwether release show APP` the releases"),
                RolloutActError::Draft(draft) => {
                    let refused = Self::new(StatusCode::CONFLICT, "draft-refused", message);
                    match draft {
                        DraftError::Moved { .. } | DraftError::Changed(_) => {
                            refused.hint("delete the draft and its branch, and draft it anew from the commit that counts")
                        }
                        DraftError::Outside { .. } | DraftError::Structure(_) => {
                            refused.hint("change only what the devices of `--devices` have, or widen the filter")
                        }
                        DraftError::TooManyAtOnce { .. } => {
                            refused.hint("give it steps: `bellwether rollout step add NAME '{take: 1%}' --reason '…'`")
                        }
                        DraftError::Busy { .. } => refused.hint("wait until that one is over, or abort it"),
                        DraftError::NameTaken(_)
                        | DraftError::NoCommit(_)
                        | DraftError::TooMany
                        | DraftError::Broken(_)
                        | DraftError::BadFilter(_)
                        | DraftError::UnknownPolicy(_)
                        | DraftError::BadStep(_)
                        | DraftError::Nothing
                        | DraftError::NotADraft(_) => refused,
                    }
                }
                RolloutActError::Refused(_) => Self::new(StatusCode::CONFLICT, "refused", message)
                    .hint("`bellwether rollout NAME --explain` says how it stands"),
            },
            CommandError::Enroll(enroll) => match enroll {
                EnrollError::Malformed(_) => Self::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message),
                EnrollError::BadToken { .. } => Self::new(StatusCode::UNAUTHORIZED, "bad-token", message)
                    .hint("make a new one with `bellwether enroll`"),
                EnrollError::Rejected { .. } => Self::new(StatusCode::FORBIDDEN, "rejected", message),
                EnrollError::TooManyPending => {
                    Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-pending", message).retry_after(300)
                }
            },
            CommandError::Report(report) => match report {
                ReportError::TooMany { .. } | ReportError::BadStart => {
                    Self::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", message)
                }
            },
            CommandError::Store(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-failed", "the change could not be written")
                    .retry_after(10)
            }
            CommandError::Failed => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message),
            CommandError::Stopping => Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", message).retry_after(5),
        }
    }
}

impl From<VariantError> for Refused {
    fn from(error: VariantError) -> Self {
        let message = error.to_string();
        match error {
            VariantError::None(_) => Self::new(StatusCode::CONFLICT, "cannot-reroute", message)
                .hint("`bellwether release show APP` lists the releases"),
            VariantError::Unread { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "commit-unread", message).retry_after(5)
            }
            VariantError::Busy => Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message).retry_after(5),
        }
    }
}

impl From<BranchError> for Refused {
    fn from(error: BranchError) -> Self {
        let message = error.to_string();
        match error {
            BranchError::Unavailable(_) | BranchError::Busy => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "branch-unread", message).retry_after(5)
            }
            BranchError::NoBranch(_) | BranchError::Elsewhere { .. } => {
                Self::new(StatusCode::CONFLICT, "no-branch", message).hint("push the branch first")
            }
            BranchError::Behind { .. } => Self::new(StatusCode::CONFLICT, "branch-behind", message)
                .hint("fetch, and draft it from the newest commit"),
            BranchError::Unsigned { .. } => {
                Self::new(StatusCode::CONFLICT, "unsigned", message).hint("sign it: `git config commit.gpgsign true`")
            }
            BranchError::Unread { .. } => Self::new(StatusCode::CONFLICT, "branch-unread", message),
        }
    }
}

/// No such route.
pub async fn no_route() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "no-route", "there is nothing at this path")
}

/// The path is right, the method is not.
pub async fn wrong_method() -> Refused {
    Refused::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "this path does not take that method")
}

/// A handler panicked: a bug of ours. The client learns nothing of it but that it happened.
pub fn panicked(_: Box<dyn std::any::Any + Send>) -> Response<Body> {
    tracing::error!("a request handler panicked, please report this");
    Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the controller failed at this request").into_response()
}
