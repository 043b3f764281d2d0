//! A program that serves, and that a test asks: `med2e3 serve`, or `med2e3 train --metrics`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::program::{program, run_to};

/// A server on a port of its own, which ends with the test.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Server {
    /// Serves the run and the dataset of a folder; `folder/scratch` is where it keeps what it must.
    pub fn start(folder: &Path, more: &[&str]) -> Server {
        let mut command = program("med2e3");
        let scratch = folder.join("scratch");
        fs::create_dir_all(&scratch).unwrap();
        command.args([
            "serve",
            "--address",
            "127.0.0.1:0",
            "--device",
            "cpu",
            "--threads",
            "1",
            "--max-new-tokens",
            "6",
        ]);
        command.arg("--checkpoint").arg(folder.join("run")).arg("--dataset").arg(folder.join("dataset"));
        command.args(more).env("TMPDIR", scratch).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().trim_start_matches("http://").split('/').next().unwrap().parse();
        Server { address: address.unwrap_or_else(|_| panic!("{line:?}")), child }
    }

    /// Trains with `--metrics` on a port of its own, from when it is said. What is said later is read and left.
    pub fn of_training(command: &mut Command) -> Server {
        let command = command.args(["--metrics", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let address =
            said.find_map(|line| line.strip_prefix("metrics: http://")?.strip_suffix("/metrics")?.parse().ok());
        std::thread::spawn(move || said.for_each(drop));
        Server { child, address: address.expect("an address") }
    }

    /// Sends a request and reads all of the response: status, headers, body.
    pub fn ask(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = self.send(request, headers, body);
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { whole(&all[end + 4..]) } else { all[end + 4..].to_vec() };
        (status, head, body)
    }

    /// Sends a request.
    pub fn send(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = format!("{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            text += &format!("Host: {}\r\n", self.address);
        }
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        // A server that refuses a body closes before all of it was sent.
        let _ = stream.write_all(&[text.as_bytes(), b"\r\n", body].concat());
        stream
    }

    /// What a path gives.
    pub fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.ask(&format!("GET {path}"), &[], b"");
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).unwrap()
    }

    /// Status and words.
    pub fn refused(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let (status, _, body) = self.ask(request, headers, body);
        (status, String::from_utf8(body).unwrap())
    }

    /// The events of a question.
    pub fn events(&self, asked: &Value) -> Vec<(String, Value)> {
        let (status, head, body) = self.ask("POST /api/ask", &[], asked.to_string().as_bytes());
        assert!(status == 200 && head.contains("text/event-stream"), "{head}");
        let text = String::from_utf8(body).unwrap();
        let event = |part: &str| {
            let (name, data) = part.strip_prefix("event: ")?.split_once("\ndata: ")?;
            Some((name.to_owned(), serde_json::from_str(data).unwrap()))
        };
        text.split("\n\n").filter_map(event).collect()
    }

    /// Tells it to stop, and waits for its end.
    pub fn stop(mut self) -> i32 {
        run_to(0, Command::new("kill").args(["-TERM", &self.child.id().to_string()]));
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A body without the lengths of its chunks.
fn whole(mut chunks: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).unwrap(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend(&chunks[end + 2..end + 2 + length]);
        chunks = &chunks[end + 4 + length..];
    }
    body
}
