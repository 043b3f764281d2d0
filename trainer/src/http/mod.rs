//! What the servers of this program share: where they listen, who may ask (`guard`), and what is told instead (`refusal`).

pub(crate) mod guard;
pub(crate) mod refusal;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use med2e3_store::{FileError, read_regular};

use crate::TrainerError;
use crate::fit::expect;

/// Characters of a token at least.
const LEAST_TOKEN: usize = 16;
/// Bytes of a token's file at most.
const MOST_TOKEN: u64 = 4096;

/// Where a server listens.
#[derive(Clone, Debug)]
pub struct ServedAt {
    /// Port 0 takes a free one. An address that other machines reach needs a token.
    pub address: SocketAddr,
    /// A file that holds the token alone.
    pub token_file: Option<PathBuf>,
}

impl ServedAt {
    /// The token, where one is asked for. `options` are those of the command line that state address and file.
    ///
    /// # Errors
    /// An address that other machines reach without a token; a file that holds none.
    pub(crate) fn token(&self, options: [&str; 2]) -> Result<Option<String>, TrainerError> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        expect(
            options[0],
            token.is_some() || self.address.ip().is_loopback(),
            format!("an address of this machine alone, such as 127.0.0.1:8080, or {}", options[1]),
            self.address.to_string(),
        )?;
        Ok(token)
    }

    /// Listens; who serves has to wait for the sockets without blocking.
    ///
    /// # Errors
    /// An address that is taken, or is not this machine's.
    pub(crate) fn listen(&self) -> Result<(TcpListener, SocketAddr), TrainerError> {
        let listen = || {
            let listener = TcpListener::bind(self.address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        Ok(listen().map_err(FileError::of(Path::new(&self.address.to_string()), "listen"))?)
    }
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
