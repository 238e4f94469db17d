//! The hub's HTTP face under `/api/v1`, described by the OpenAPI document that its routes make.

mod guard;
mod routes;
mod server;

pub use routes::document;
pub use server::{Server, serve, serve_anywhere};

use crate::api::ErrorBody;
use crate::error::{HubError, Result};
use crate::hub::Hub;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::Duration;

/// Every path begins with this.
pub const BASE: &str = "/api/v1";
/// No long poll waits longer.
pub const MAX_WAIT: Duration = Duration::from_secs(20);
/// A body has no more bytes, snapshots apart.
pub const MAX_BODY: usize = 64 << 10;
/// A snapshot's body has no more bytes: its 4 MiB may double in hexadecimal or escapes.
pub const MAX_SNAPSHOT_BODY: usize = 12 << 20;

/// A refusal on its way to the caller.
struct Refusal(HubError);

impl From<HubError> for Refusal {
    fn from(error: HubError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            HubError::Unauthorised => StatusCode::UNAUTHORIZED,
            HubError::Forbidden { .. } => StatusCode::FORBIDDEN,
            HubError::NotFound { .. } => StatusCode::NOT_FOUND,
            HubError::Conflict(_) | HubError::Closing { .. } => StatusCode::CONFLICT,
            HubError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            HubError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            HubError::Budget { .. } | HubError::Rate { .. } | HubError::Busy { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let error = if status == StatusCode::INTERNAL_SERVER_ERROR {
            // What failed inside names paths and records, which are not the caller's business.
            eprintln!("hub: {}", self.0);
            "the hub failed".to_owned()
        } else {
            self.0.to_string()
        };
        refusal(status, error, self.0.hint(), self.0.code())
    }
}

fn refusal(status: StatusCode, error: String, hint: &str, code: &str) -> Response {
    let body = ErrorBody {
        error,
        hint: hint.to_owned(),
        code: code.to_owned(),
    };
    (status, Json(body)).into_response()
}

type Answer<T> = std::result::Result<Json<T>, Refusal>;

/// Asks the hub on a thread that may wait for locks and disks.
async fn ask<T: Send + 'static>(
    hub: Arc<Hub>,
    question: impl FnOnce(&Hub) -> Result<T> + Send + 'static,
) -> std::result::Result<T, Refusal> {
    let asked = tokio::task::spawn_blocking(move || question(&hub)).await;
    // The question panicked or the server is ending: in both cases there is no answer.
    Ok(asked.map_err(HubError::record)??)
}
