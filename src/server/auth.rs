//! Who speaks: a device by its key, an operator by a named key or by the Unix socket.

use super::Shared;
use super::errors::Refused;
use crate::controller::published::Slot;
use crate::domain::acts::enroll::key_hash;
use crate::domain::digest::Digest;
use crate::domain::fleet::IdentityStatus;
use crate::domain::ids::Actor;
use axum::extract::FromRequestParts;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::serve::IncomingStream;
use std::sync::Arc;
use tokio::net::UnixListener;

/// Who is at the other end of a Unix socket.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    uid: Option<u32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for PeerInfo {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self { uid: stream.io().peer_cred().ok().map(|credentials| credentials.uid()) }
    }
}

fn bearer(parts: &Parts) -> Option<&str> {
    parts.headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

/// A device that belongs to the fleet.
pub struct Device(pub Arc<Slot>);

impl FromRequestParts<Shared> for Device {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Refused> {
        let unknown = || {
            Refused::new(StatusCode::UNAUTHORIZED, "unknown-key", "the device's key is not known")
                .hint("enroll the device; it keeps running what it has until then")
        };
        let key = bearer(parts).and_then(key_hash).ok_or_else(unknown)?;
        let speaker = server.published.speaker(&key).ok_or_else(unknown)?;
        match speaker.status {
            IdentityStatus::Enrolled => Ok(Self(speaker.slot)),
            IdentityStatus::Pending => {
                Err(Refused::new(StatusCode::FORBIDDEN, "pending", "the device waits for approval").retry_after(30))
            }
            IdentityStatus::Rejected => Err(Refused::new(StatusCode::FORBIDDEN, "rejected", "the device was rejected")),
        }
    }
}

/// An operator, by name.
pub struct Operator(pub Actor);

impl FromRequestParts<Shared> for Operator {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, server: &Shared) -> Result<Self, Refused> {
        // Only the socket's listener puts a peer there. Whoever the file's mode lets in may act.
        if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<PeerInfo>>() {
            let name = peer.uid.map_or_else(|| "socket".to_owned(), |uid| format!("uid {uid}"));
            return Actor::new(&name)
                .map(Self)
                .map_err(|error| Refused::new(StatusCode::UNAUTHORIZED, "no-actor", error.to_string()));
        }
        let actor = bearer(parts).and_then(|key| server.operators.get(&Digest::of(key.as_bytes())).cloned());
        actor.map(Self).ok_or_else(|| {
            Refused::new(StatusCode::UNAUTHORIZED, "unknown-key", "this needs an operator's key")
                .hint("name it under `operators` in the controller's configuration, or use its Unix socket")
        })
    }
}
