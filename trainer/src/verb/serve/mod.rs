//! A page on which a person asks a model about volumes: those of a dataset, or a file dropped onto it. Answers come token by token,
//! with how much each slice counted.
//!
//! # Layout
//! - `catalog`: the dataset's volumes; `volumes`: those that are looked at
//! - `questions`: answered one by one, and who waits
//! - `api`: the requests; who may make them is in `http`
//! - `page`: the page, with `ask.js`
//!
//! Nothing is stored, and nothing of a request is logged.

mod api;
mod catalog;
mod page;
mod questions;
mod volumes;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use med2e3_input::volume::ReadLimits;
use med2e3_program::machine::require_threads;
use med2e3_program::{StopSignal, note};
use med2e3_shards::Dataset;
use med2e3_store::FileError;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::TrainerError;
use crate::config::OtherInputs;
use crate::device::{DeviceChoice, DeviceError};
use crate::fit::expect;
use crate::generate::answerer::Answerer;
use crate::http::ServedAt;
use crate::http::guard::Guard;
use api::{Server, routes};
use catalog::Catalog;

/// What is served, and to whom.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Whose volumes can be asked about; dropped files alone without it.
    pub dataset: Option<PathBuf>,
    /// Where the server listens.
    pub place: ServedAt,
    /// MiB of a dropped file at most.
    pub most_mib: u64,
    /// Tokens of an answer at most.
    pub most_tokens: usize,
    /// Whether a dataset whose inputs were made in another way than the checkpoint's is served.
    pub other_inputs: OtherInputs,
    /// Where to compute.
    pub device: DeviceChoice,
    /// CPU threads of one operation; 0 leaves libtorch's choice.
    pub threads: usize,
}

/// Threads that serve requests; what reads files runs on others, of which a few are there at a time.
const SERVING: usize = 1;
const BLOCKING: usize = 4;
/// How soon a signal is noticed.
const LOOK: Duration = Duration::from_millis(100);

/// Serves until the program is told to stop (Ctrl-C, SIGTERM). `ready` is called with the page's address as soon as the server listens.
///
/// # Errors
/// An address that other machines reach without a token, or that is taken; a checkpoint or dataset that does not read or does not fit.
pub fn serve(config: &ServeConfig, ready: impl FnOnce(&str) -> io::Result<()>) -> Result<(), TrainerError> {
    let token = config.place.token(["--address", "--token-file"])?;
    expect("--max-new-tokens", config.most_tokens > 0, "1 or more".into(), "0".into())?;
    require_threads(SERVING + BLOCKING).map_err(DeviceError::from)?;
    let answerer = Answerer::open(&config.checkpoint, config.device, config.threads)?;
    if let Some(words) = answerer.note() {
        note(format_args!("note: {words}"));
    }
    let dataset = config.dataset.as_deref().map(Dataset::open).transpose()?.map(Arc::new);
    if let Some(dataset) = &dataset {
        answerer.check_fit(dataset, config.other_inputs)?;
    }
    let inputs = answerer.volume_inputs();
    expect("checkpoint", inputs.voxels.is_unit_range(), "voxels in 0..1".into(), "Hounsfield units".into())?;
    let catalog = dataset.map(Catalog::read).transpose()?;

    let runtime = Builder::new_multi_thread()
        .worker_threads(SERVING)
        .max_blocking_threads(BLOCKING)
        .thread_name("serve")
        .enable_io()
        .enable_time()
        .build()
        .map_err(FileError::of(Path::new("the server's threads"), "start"))?;
    let (listener, address) = config.place.listen()?;
    let serving = || FileError::of(Path::new("requests"), "serve");
    let listener = runtime.block_on(async { TcpListener::from_std(listener) }).map_err(serving())?;
    let server = Arc::new(Server {
        guard: Guard::new(address, token.as_deref()),
        title: config.checkpoint.display().to_string(),
        catalog,
        volumes: Default::default(),
        questions: Default::default(),
        inputs,
        limits: ReadLimits::default(),
        most_bytes: config.most_mib << 20,
        most_tokens: config.most_tokens,
        preparing: Default::default(),
    });
    let stop = StopSignal::listen("the server stops; a second signal ends it at once");
    let way = if token.is_some() { "/?token=TOKEN" } else { "/" };
    ready(&format!("http://{address}{way}")).map_err(FileError::of(Path::new("standard output"), "write"))?;
    let served = runtime.spawn(until_stopped(listener, server.clone(), stop));
    // The model stays on the thread that opened it.
    server.questions.answer_all(&answerer);
    let served = runtime.block_on(served).unwrap_or_else(|error| Err(io::Error::other(error)));
    Ok(served.map_err(serving())?)
}

/// Serves until a signal; then the questions end, and with them who answers.
async fn until_stopped(listener: TcpListener, server: Arc<Server>, stop: StopSignal) -> io::Result<()> {
    let asked = async {
        while !stop.is_asked() {
            tokio::time::sleep(LOOK).await;
        }
    };
    let served = tokio::select! {
        served = async { axum::serve(listener, routes(server.clone())).await } => served,
        () = asked => Ok(()),
    };
    server.questions.close();
    // Who still listens hears of it.
    tokio::time::sleep(2 * LOOK).await;
    served
}
