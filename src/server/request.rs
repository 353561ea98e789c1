//! What a request says in its body, its query and its path. What is wrong with a bad one is said in our own form.

use super::Shared;
use super::errors::Refused;
use crate::domain::ids::{DeviceId, NameError};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::str::FromStr;

/// A JSON body.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Refused;

    async fn from_request(request: Request, server: &Shared) -> Result<Self, Refused> {
        match axum::Json::<T>::from_request(request, server).await {
            Ok(axum::Json(value)) => Ok(Self(value)),
            Err(rejection) => {
                let code = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE { "too-large" } else { "malformed" };
                Err(Refused::new(rejection.status(), code, rejection.body_text()))
            }
        }
    }
}

/// The values of a query.
pub struct Asked<T>(pub T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Refused> {
        let query = Query::<T>::from_request_parts(parts, server).await;
        let Query(value) =
            query.map_err(|rejection| Refused::new(rejection.status(), "malformed", rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// The device, or whatever else has a name, that a path names.
pub struct Named<T = DeviceId>(pub T);

impl<T: FromStr<Err = NameError>> FromRequestParts<Shared> for Named<T> {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Refused> {
        let path = Path::<String>::from_request_parts(parts, server).await;
        let Path(text) =
            path.map_err(|rejection| Refused::new(rejection.status(), "malformed", rejection.body_text()))?;
        text.parse()
            .map(Self)
            .map_err(|error: NameError| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, "malformed", error.to_string()))
    }
}
