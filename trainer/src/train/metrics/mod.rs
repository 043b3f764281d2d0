//! `--metrics`: the numbers of a run that goes on, for Prometheus to fetch. `GET /metrics` gives them in its text format 0.0.4; the server
//! is there from before the run is opened until it ends.

mod numbers;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use med2e3_program::machine::require_threads;
use med2e3_program::note;
use med2e3_schemas::report::TrainStep;
use med2e3_store::FileError;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::TrainerError;
use crate::device::DeviceError;
use crate::http::ServedAt;
use crate::http::guard::Guard;
use crate::http::refusal::Refusal;
use numbers::Numbers;

const FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Options of the command line.
const OPTIONS: [&str; 2] = ["--metrics", "--metrics-token-file"];

/// A run's numbers, and the thread that serves them. Its drop ends the server.
pub(super) struct Metrics {
    numbers: Arc<Mutex<Numbers>>,
    end: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

struct Served {
    guard: Guard,
    numbers: Arc<Mutex<Numbers>>,
}

impl Metrics {
    /// Listens, and says where.
    ///
    /// # Errors
    /// An address that other machines reach without a token, or that is taken; the system gives no thread.
    pub(super) fn listen(place: &ServedAt) -> Result<Metrics, TrainerError> {
        let token = place.token(OPTIONS)?;
        require_threads(1).map_err(DeviceError::from)?;
        let (listener, address) = place.listen()?;
        let refused = || FileError::of(Path::new("the thread of --metrics"), "start");
        let runtime = Builder::new_current_thread().enable_io().enable_time().build().map_err(refused())?;
        let numbers = Arc::<Mutex<Numbers>>::default();
        let served = Arc::new(Served { guard: Guard::new(address, token.as_deref()), numbers: numbers.clone() });
        let (end, ended) = oneshot::channel::<()>();
        let body = move || {
            let serving = async {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    served = async { axum::serve(listener, routes(served)).await } => served,
                    _ = ended => Ok(()),
                }
            };
            let served: io::Result<()> = runtime.block_on(serving);
            // Requests that are open end with the runtime.
            drop(runtime);
            if let Err(problem) = served {
                note(format_args!("WARNING: --metrics: {problem}; the run goes on without them"));
            }
        };
        let server = thread::Builder::new().name("metrics".into()).spawn(body).map_err(refused())?;
        said(address);
        Ok(Metrics { numbers, end: Some(end), server: Some(server) })
    }

    /// Takes note of what is known of the run before its first step.
    pub(super) fn begin(&self, name: &str, device: &str, done: u64, steps: u64) {
        locked(&self.numbers).begin(name, device, done, steps);
    }

    /// Takes note of a step.
    pub(super) fn add(&self, step: &TrainStep) {
        locked(&self.numbers).add(step);
    }

    /// Takes note of a validation loss.
    pub(super) fn measured(&self, loss: f64) {
        locked(&self.numbers).measured(loss);
    }
}

impl Drop for Metrics {
    fn drop(&mut self) {
        // One that ended by itself hears nothing, and what it met was said.
        let _ = self.end.take().map(|end| end.send(()));
        let _ = self.server.take().map(JoinHandle::join);
    }
}

fn said(address: SocketAddr) {
    note(format_args!("metrics: http://{address}/metrics"));
}

/// A number is whole at any time, whoever ended while holding the lock.
fn locked(numbers: &Mutex<Numbers>) -> MutexGuard<'_, Numbers> {
    numbers.lock().unwrap_or_else(PoisonError::into_inner)
}

fn routes(served: Arc<Served>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .fallback(|| async { Refusal::NotFound("nothing is here but /metrics".into()) })
        .layer(from_fn_with_state(served.clone(), checked))
        .with_state(served)
}

async fn checked(State(served): State<Arc<Served>>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    match served.guard.check_origin(headers).and_then(|()| served.guard.check_token(headers)) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn metrics(State(served): State<Arc<Served>>) -> Response {
    let text = locked(&served.numbers).text();
    ([(CONTENT_TYPE, FORMAT), (CACHE_CONTROL, "no-store")], text).into_response()
}
