//! What the page asks for: volumes, their slices, and answers as they come.
//!
//! | request | gives |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /api/volumes?search=WORDS&page=N` | volumes of the dataset, 50 a page |
//! | `GET /api/volumes/KEY` | one: its name, its slices, its samples |
//! | `GET /api/volumes/KEY/sheet.jpg` | its slices as one picture, 8 in a row |
//! | `POST /api/files` | a dropped NIfTI, as the body: its key |
//! | `POST /api/ask` | `volume`, `question`, `max_new_tokens`, `temperature`, `seed`: events as they come |
//! | `POST /api/view` | `volume`, `asked`: the viewer with these answers, as HTML |

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::Stream;
use med2e3_input::volume::ReadLimits;
use med2e3_schemas::Id;
use med2e3_schemas::inputs::VolumeInputs;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::spawn_blocking;

use super::catalog::{Catalog, Text};
use super::page;
use super::questions::{Question, Questions, Told};
use super::volumes::{Shown, Volumes};
use crate::generate::Decoding;
use crate::http::guard::{COOKIE_NAME, Guard};
use crate::http::refusal::Refusal;
use crate::verb::ask::check_text;

/// What all requests share.
pub(super) struct Server {
    pub(super) guard: Guard,
    pub(super) title: String,
    /// None where only dropped files are asked about.
    pub(super) catalog: Option<Catalog>,
    pub(super) volumes: Volumes,
    pub(super) questions: Questions,
    /// How a dropped file is prepared.
    pub(super) inputs: VolumeInputs,
    pub(super) limits: ReadLimits,
    /// Bytes of a dropped file at most.
    pub(super) most_bytes: u64,
    /// Tokens of an answer at most.
    pub(super) most_tokens: usize,
    /// One file is prepared at a time.
    pub(super) preparing: Mutex<()>,
}

/// Bytes of a request without a file.
const MOST_JSON: usize = 256 << 10;
/// Characters of a question.
const MOST_CHARACTERS: usize = 8 << 10;

/// The server's routes.
pub(super) fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(whole_page))
        .route("/page.css", get(|| async { typed("text/css; charset=utf-8", page::STYLE) }))
        .route("/ask.css", get(|| async { typed("text/css; charset=utf-8", page::FORMS) }))
        .route("/viewer.js", get(|| async { typed("text/javascript; charset=utf-8", page::VIEWER) }))
        .route("/ask.js", get(|| async { typed("text/javascript; charset=utf-8", page::SCRIPT) }))
        .route("/api/volumes", get(volumes))
        .route("/api/volumes/{key}", get(volume))
        .route("/api/volumes/{key}/sheet.jpg", get(sheet))
        .route("/api/files", post(dropped))
        .route("/api/ask", post(ask))
        .route("/api/view", post(view))
        .fallback(|| async { Refusal::NotFound("nothing is here".into()) })
        .layer(from_fn_with_state(server.clone(), checked))
        .with_state(server)
}

/// Checks where a request comes from, and says to the browser what the page may do.
async fn checked(State(server): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let mut response = match admitted(&server, &request) {
        Ok(None) => next.run(request).await,
        Ok(Some(redirect)) => redirect,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Nothing where the request may pass. One with the token in its address gets it as a cookie, and the address without it.
fn admitted(server: &Server, request: &Request) -> Result<Option<Response>, Refusal> {
    server.guard.check_origin(request.headers())?;
    let given = request.uri().query().and_then(|query| query.strip_prefix("token="));
    if let Some(token) = given.filter(|token| request.uri().path() == "/" && server.guard.is_token(token)) {
        let cookie = format!("{COOKIE_NAME}={token}; HttpOnly; SameSite=Strict; Path=/");
        let redirect =
            Response::builder().status(StatusCode::SEE_OTHER).header(LOCATION, "/").header(SET_COOKIE, cookie);
        return Ok(Some(redirect.body(Body::empty()).map_err(Refusal::of)?));
    }
    server.guard.check_token(request.headers())?;
    Ok(None)
}

fn typed(kind: &'static str, body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, kind)], body.into()).into_response()
}

async fn whole_page(State(server): State<Arc<Server>>) -> Response {
    typed("text/html; charset=utf-8", page::html(&server))
}

#[derive(Deserialize)]
struct Wanted {
    #[serde(default)]
    search: String,
    #[serde(default)]
    page: usize,
}

async fn volumes(State(server): State<Arc<Server>>, Query(wanted): Query<Wanted>) -> Result<Response, Refusal> {
    on_a_thread(move || {
        let catalog = server.catalog.as_ref().ok_or_else(|| Refusal::NotFound("no dataset is served".into()))?;
        Ok(Json(catalog.find(&wanted.search, wanted.page)).into_response())
    })
    .await
}

#[derive(Serialize)]
struct OneVolume<'a> {
    key: &'a str,
    name: &'a str,
    slices: usize,
    texts: &'a [Text],
}

async fn volume(State(server): State<Arc<Server>>, Path(key): Path<String>) -> Result<Response, Refusal> {
    on_a_thread(move || {
        let shown = server.shown(&key)?;
        let entry = key.parse::<Id>().ok().and_then(|id| server.catalog.as_ref()?.volume(id));
        let texts = entry.map_or(&[][..], |entry| &entry.texts);
        let (key, name, slices) = (&shown.key, &shown.name, shown.format.shape_dhw[0]);
        Ok(Json(OneVolume { key, name, slices, texts }).into_response())
    })
    .await
}

async fn sheet(State(server): State<Arc<Server>>, Path(key): Path<String>) -> Result<Response, Refusal> {
    on_a_thread(move || Ok(typed("image/jpeg", server.shown(&key)?.sheet.clone()))).await
}

async fn dropped(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Ok(_preparing) = server.preparing.try_lock() else {
        return Err(Refusal::Busy("another file is being prepared; drop it again in a moment"));
    };
    let limit = usize::try_from(server.most_bytes).unwrap_or(usize::MAX);
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|_| Refusal::TooLarge(server.most_bytes))?;
    let shared = server.clone();
    on_a_thread(move || {
        // Who does not have the file can't guess it.
        let key = format!("file-{}", &blake3::hash(&bytes).to_hex()[..32]);
        let shown = shared.volumes.keep(Shown::of_file(key, &bytes, &shared.inputs, &shared.limits)?);
        let (key, name, slices) = (&shown.key, &shown.name, shown.format.shape_dhw[0]);
        Ok(Json(OneVolume { key, name, slices, texts: &[] }).into_response())
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    volume: String,
    question: String,
    max_new_tokens: Option<usize>,
    /// Tokens are drawn with it; the most likely ones are taken without.
    temperature: Option<f64>,
    #[serde(default)]
    seed: u64,
}

async fn ask(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Asked { volume, question, max_new_tokens, temperature, seed } = json(body).await?;
    let text = question.trim().to_owned();
    if text.is_empty() || text.chars().count() > MOST_CHARACTERS {
        return Err(Refusal::Bad(format!("expected a question of 1 to {MOST_CHARACTERS} characters")));
    }
    check_text("question", &text).map_err(|error| Refusal::Bad(error.to_string()))?;
    let max_new_tokens = max_new_tokens.unwrap_or(server.most_tokens);
    if !(1..=server.most_tokens).contains(&max_new_tokens) {
        return Err(Refusal::Bad(format!(
            "expected 1 to {} as max_new_tokens, found {max_new_tokens}",
            server.most_tokens
        )));
    }
    let decoding =
        temperature.map_or(Decoding::Greedy, |temperature| Decoding::Sample { temperature, top_p: 1.0, seed });
    decoding.check().map_err(|error| Refusal::Bad(error.to_string()))?;
    let (asker, told) = unbounded_channel();
    on_a_thread(move || {
        let volume = server.shown(&volume)?;
        server.questions.add(Question { volume, text, decoding, max_new_tokens, asker })
    })
    .await?;
    Ok(Sse::new(events(told)).keep_alive(KeepAlive::default()).into_response())
}

/// What an asker is told, as events. Dropped with the connection, so that the sender knows.
fn events(told: UnboundedReceiver<Told>) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(told, |mut told| async {
        let next = told.recv().await?;
        let event = Event::default().event(next.name());
        let event = event.json_data(&next).expect("plain data can be written as JSON");
        Some((Ok(event), told))
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Viewed {
    volume: String,
    asked: Vec<page::Answered>,
}

async fn view(State(server): State<Arc<Server>>, body: Body) -> Result<Response, Refusal> {
    let Viewed { volume, asked } = json(body).await?;
    on_a_thread(move || {
        let shown = server.shown(&volume)?;
        Ok(typed("text/html; charset=utf-8", page::viewer(&shown, &asked)))
    })
    .await
}

/// A request's JSON.
async fn json<T: for<'de> Deserialize<'de>>(body: Body) -> Result<T, Refusal> {
    let bytes: Bytes = axum::body::to_bytes(body, MOST_JSON).await.map_err(|_| Refusal::TooLarge(MOST_JSON as u64))?;
    serde_json::from_slice(&bytes).map_err(|error| Refusal::Bad(format!("the request's JSON: {error}")))
}

/// Runs what reads files or computes away from the threads that serve.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(Refusal::of(error)))
}

impl Server {
    /// A volume by its key: one that was kept, or one of the dataset.
    fn shown(&self, key: &str) -> Result<Arc<Shown>, Refusal> {
        if let Some(shown) = self.volumes.get(key) {
            return Ok(shown);
        }
        let gone = || {
            Refusal::NotFound(
                "that volume is not here; a dropped file is kept until eight others were looked at".into(),
            )
        };
        let id: Id = key.parse().map_err(|_| gone())?;
        let catalog = self.catalog.as_ref().ok_or_else(gone)?;
        Ok(self.volumes.keep(Shown::of_dataset(catalog, id, &self.inputs)?))
    }
}
