//! What stands before every handler: tokens and scopes, sizes, and reading what was sent.

use super::{Refusal, ask};
use crate::error::HubError;
use crate::hub::{Caller, Hub};
use aar_core::access::Scope;
use aar_core::id::Name;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// A caller with any valid token.
pub(super) struct Anyone(pub(super) Caller);
/// A caller who takes part in the study.
pub(super) struct Researcher(pub(super) Name);
/// A caller who may see claims and replications.
pub(super) struct Referee;
/// A caller who may see everything and decide about cases.
pub(super) struct Admin;

async fn caller(parts: &Parts, hub: &Arc<Hub>) -> Result<Caller, Refusal> {
    let header = parts
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let token = header.and_then(|text| text.strip_prefix("Bearer "));
    let token = token.ok_or(HubError::Unauthorised)?.trim().to_owned();
    ask(hub.clone(), move |hub| hub.authenticate(&token)).await
}

async fn caller_with(parts: &Parts, hub: &Arc<Hub>, scopes: &[Scope]) -> Result<Caller, Refusal> {
    let caller = caller(parts, hub).await?;
    if scopes.contains(&caller.scope) {
        Ok(caller)
    } else {
        Err(HubError::Forbidden {
            scope: caller.scope,
        }
        .into())
    }
}

impl FromRequestParts<Arc<Hub>> for Anyone {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        caller(parts, hub).await.map(Self)
    }
}

impl FromRequestParts<Arc<Hub>> for Researcher {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        let caller = caller_with(parts, hub, &[Scope::Researcher]).await?;
        Ok(Self(caller.name))
    }
}

impl FromRequestParts<Arc<Hub>> for Referee {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        caller_with(parts, hub, &[Scope::Referee, Scope::Admin]).await?;
        Ok(Self)
    }
}

impl FromRequestParts<Arc<Hub>> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        caller_with(parts, hub, &[Scope::Admin]).await?;
        Ok(Self)
    }
}

/// A JSON body of at most `LIMIT` bytes.
pub(super) struct Body<T, const LIMIT: usize>(pub(super) T);

impl<T: DeserializeOwned, const LIMIT: usize> FromRequest<Arc<Hub>> for Body<T, LIMIT> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _hub: &Arc<Hub>) -> Result<Self, Refusal> {
        let length = request.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let too_large = |found| HubError::TooLarge {
            what: "the request's body".to_owned(),
            found,
            limit: LIMIT as u64,
        };
        if let Some(found) = length.filter(|&length| length > LIMIT as u64) {
            return Err(too_large(found).into());
        }
        // Without a length, reading stops one byte after the limit.
        let bytes = axum::body::to_bytes(request.into_body(), LIMIT)
            .await
            .map_err(|_| too_large(LIMIT as u64 + 1))?;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let field = error.path().to_string();
            let place = if field == "." {
                String::new()
            } else {
                format!("field {field}: ")
            };
            HubError::invalid(format!("{place}{}", error.inner()))
        })?;
        reader
            .end()
            .map_err(|error| HubError::invalid(error.to_string()))?;
        Ok(Self(value))
    }
}

/// The parameters after the question mark.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Arc<Hub>> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _hub: &Arc<Hub>) -> Result<Self, Refusal> {
        let Query(value) = Query::try_from_uri(&parts.uri)
            .map_err(|error| HubError::invalid(error.body_text()))?;
        Ok(Self(value))
    }
}

/// The name or number in the path. What cannot be one names nothing, so it is not found.
pub(super) struct Named<T>(pub(super) T);

impl<T: FromSegment> FromRequestParts<Arc<Hub>> for Named<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, hub: &Arc<Hub>) -> Result<Self, Refusal> {
        let segment = Path::<String>::from_request_parts(parts, hub).await;
        let text = segment.map(|Path(text)| text).unwrap_or_default();
        let value = T::from_segment(&text)
            .ok_or_else(|| HubError::not_found(format!("{} {text:?}", T::WHAT)))?;
        Ok(Self(value))
    }
}

/// What can stand in a path.
pub(super) trait FromSegment: Sized {
    /// Its word.
    const WHAT: &'static str;
    /// Reads it.
    fn from_segment(text: &str) -> Option<Self>;
}

macro_rules! number_segment {
    ($($id:ident $what:literal),*) => {$(
        impl FromSegment for aar_core::id::$id {
            const WHAT: &'static str = $what;
            fn from_segment(text: &str) -> Option<Self> {
                text.parse().ok().filter(|&number| number <= i64::MAX as u64).map(Self)
            }
        }
    )*};
}

number_segment!(
    ExperimentId "experiment",
    EvaluationId "evaluation",
    FindingId "finding",
    CaseId "case"
);

impl FromSegment for aar_core::id::SnapshotId {
    const WHAT: &'static str = "snapshot";
    fn from_segment(text: &str) -> Option<Self> {
        text.parse().ok().map(Self)
    }
}
