//! Why a request gets no answer.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// What is told instead.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request is not as the page makes it.
    Bad(String),
    /// It comes from elsewhere, or without the token.
    Forbidden(&'static str),
    /// What it names is not there.
    NotFound(String),
    /// A file larger than the limit, in bytes.
    TooLarge(u64),
    /// A file that is no volume.
    Unreadable(String),
    /// More is asked than waits at most.
    Busy(&'static str),
    /// The machine's fault.
    Failed(String),
}

impl Refusal {
    /// A fault of the machine or of the dataset.
    pub(crate) fn of(error: impl std::error::Error) -> Refusal {
        Refusal::Failed(med2e3_program::with_causes(&error))
    }

    fn told(self) -> (StatusCode, String) {
        match self {
            Refusal::Bad(words) => (StatusCode::BAD_REQUEST, words),
            Refusal::Forbidden(words) => (StatusCode::FORBIDDEN, words.into()),
            Refusal::NotFound(words) => (StatusCode::NOT_FOUND, words),
            Refusal::TooLarge(most) => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("expected a file of at most {} MiB", most >> 20))
            }
            Refusal::Unreadable(words) => (StatusCode::UNPROCESSABLE_ENTITY, words),
            Refusal::Busy(words) => (StatusCode::SERVICE_UNAVAILABLE, words.into()),
            Refusal::Failed(words) => (StatusCode::INTERNAL_SERVER_ERROR, words),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.told().into_response()
    }
}
