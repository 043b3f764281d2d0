//! A page on which a person asks a model about volumes: those of a dataset, or a file dropped onto it. Answers come token by token,
//! with how much each slice counted.
//!
//! # Layout
//! - `catalog`: the dataset's volumes; `volumes`: those that are looked at
//! - `questions`: answered one by one, and who waits
//! - `api`: the requests; `guard`: who may make them; `refusal`: what is told instead
//! - `page`: the page, with `ask.js`
//!
//! Nothing is stored, and nothing of a request is logged.

mod api;
mod catalog;
mod guard;
mod page;
mod questions;
mod refusal;
mod volumes;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use med2e3_input::volume::ReadLimits;
use med2e3_program::machine::require_threads;
use med2e3_program::{StopSignal, note};
use med2e3_shards::Dataset;
use med2e3_store::{FileError, read_regular};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::TrainerError;
use crate::config::OtherInputs;
use crate::device::{DeviceChoice, DeviceError};
use crate::fit::expect;
use crate::generate::answerer::Answerer;
use api::{Server, routes};
use catalog::Catalog;
use guard::Guard;

/// What is served, and to whom.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    /// A run's folder (its last checkpoint) or one checkpoint's folder.
    pub checkpoint: PathBuf,
    /// Whose volumes can be asked about; dropped files alone without it.
    pub dataset: Option<PathBuf>,
    /// Where the server listens. One that other machines reach needs a token.
    pub address: SocketAddr,
    /// A file that holds the token alone.
    pub token_file: Option<PathBuf>,
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
/// Characters of a token at least.
const LEAST_TOKEN: usize = 16;
/// Bytes of a token's file at most.
const MOST_TOKEN: u64 = 4096;

/// Serves until the program is told to stop (Ctrl-C, SIGTERM). `ready` is called with the page's address as soon as the server listens.
///
/// # Errors
/// An address that other machines reach without a token, or that is taken; a checkpoint or dataset that does not read or does not fit.
pub fn serve(config: &ServeConfig, ready: impl FnOnce(&str) -> io::Result<()>) -> Result<(), TrainerError> {
    let token = config.token_file.as_deref().map(token).transpose()?;
    expect(
        "--address",
        token.is_some() || config.address.ip().is_loopback(),
        "an address of this machine alone, such as 127.0.0.1:8080, or --token-file".into(),
        config.address.to_string(),
    )?;
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
    let refused = |error| FileError::of(Path::new(&config.address.to_string()), "listen")(error);
    let listener = runtime.block_on(TcpListener::bind(config.address)).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
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
    let serving = runtime.spawn(until_stopped(listener, server.clone(), stop));
    // The model stays on the thread that opened it.
    server.questions.answer_all(&answerer);
    let served = runtime.block_on(serving).unwrap_or_else(|error| Err(io::Error::other(error)));
    Ok(served.map_err(FileError::of(Path::new("requests"), "serve"))?)
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

/// The token in a file.
fn token(path: &Path) -> Result<String, TrainerError> {
    let bytes = read_regular(path, MOST_TOKEN)?;
    let token = String::from_utf8_lossy(&bytes).trim().to_owned();
    let is_token =
        token.len() >= LEAST_TOKEN && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if is_token {
        return Ok(token);
    }
    let expected = format!("a token of {LEAST_TOKEN} or more letters, digits, - and _");
    Err(TrainerError::File { path: path.to_owned(), expected, found: format!("{} characters", token.chars().count()) })
}
