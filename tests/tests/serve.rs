//! `med2e3 serve` from the outside: who may ask, what is answered, and that nothing stays.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::{Value, json};

/// A server on a port of its own, which ends with the test.
struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    fn start(folder: &Path, more: &[&str]) -> Server {
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

    /// Sends a request and reads all of the response: status, headers, body.
    fn ask(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
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

    fn send(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
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

    fn json(&self, path: &str) -> Value {
        let (status, _, body) = self.ask(&format!("GET {path}"), &[], b"");
        assert_eq!(status, 200, "{path}");
        serde_json::from_slice(&body).unwrap()
    }

    fn refused(&self, request: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, String) {
        let (status, _, body) = self.ask(request, headers, body);
        (status, String::from_utf8(body).unwrap())
    }

    /// The events of a question.
    fn events(&self, asked: &Value) -> Vec<(String, Value)> {
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
    fn stop(mut self) -> i32 {
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

#[test]
fn one_asks_about_volumes_and_dropped_files_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    run_to(0, &mut evaluate(folder, "run", "dataset", "answers", &["tasks=[\"open_vqa\"]", "controls=\"none\""]));
    let report: Value = serde_json::from_str(&fs::read_to_string(folder.join("answers/report.json")).unwrap()).unwrap();
    let server = Server::start(folder, &["--most-mib", "1"]);

    // The page, which asks nobody else.
    let (status, head, page) = server.ask("GET /", &[], b"");
    let page = String::from_utf8(page).unwrap();
    assert!(status == 200 && page.contains("/ask.js") && !page.contains("https://"), "{head}\n{page}");
    for words in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "no-store", "nosniff"] {
        assert!(head.contains(words), "{words}: {head}");
    }
    assert!(!head.to_lowercase().contains("access-control"), "{head}");
    for file in ["/page.css", "/ask.css", "/viewer.js", "/ask.js"] {
        assert_eq!(server.ask(&format!("GET {file}"), &[], b"").0, 200, "{file}");
    }

    // The answers are those of evaluate, and so are the scores.
    let found = server.json("/api/volumes?search=test");
    assert!(found["total"].as_u64().unwrap() > 0, "{found}");
    for answer in report["answers"].as_array().unwrap().iter().take(3) {
        let volume = answer["volume_id"].as_str().unwrap();
        let one = server.json(&format!("/api/volumes/{volume}"));
        assert!(one["texts"].as_array().unwrap().iter().any(|text| text["question"] == answer["question"]), "{one}");
        let events = server.events(&json!({"volume": volume, "question": answer["question"]}));
        let names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names[..2], ["queue", "scores"], "{events:?}");
        assert!(names[2..names.len() - 1].iter().all(|name| *name == "token"), "{events:?}");
        let (name, done) = events.last().unwrap();
        assert_eq!((name.as_str(), &done["answer"]), ("done", &answer["answer"]), "{events:?}");
        assert_eq!(done["stopped_by"] == "most_tokens", answer["is_cut"] == true, "{done}");
        assert_eq!(events[1].1["scores"], answer["scores"]);
        let (status, _, sheet) = server.ask(&format!("GET /api/volumes/{volume}/sheet.jpg"), &[], b"");
        assert!(status == 200 && sheet.starts_with(&[0xff, 0xd8]));
        let asked =
            json!({"volume": volume, "asked": [{"question": "<b>", "answer": "&", "scores": answer["scores"]}]});
        let (status, _, view) = server.ask("POST /api/view", &[], asked.to_string().as_bytes());
        let view = String::from_utf8(view).unwrap();
        assert!(status == 200 && view.contains("&lt;b&gt;") && view.contains("&amp;"), "{view}");
    }

    // Who leaves is not waited for.
    let volume = report["answers"][0]["volume_id"].as_str().unwrap();
    let asked = json!({"volume": volume, "question": "Where?"}).to_string();
    for _ in 0..20 {
        drop(server.send("POST /api/ask", &[], asked.as_bytes()));
    }
    assert_eq!(server.events(&json!({"volume": volume, "question": "Where?"})).last().unwrap().0, "done");
    // Drawn with a seed: the same again.
    let drawn = json!({"volume": volume, "question": "Where?", "temperature": 1.5, "seed": 3});
    let end = || server.events(&drawn).last().unwrap().1["answer"].clone();
    assert_eq!(end(), end());

    // A dropped file.
    let file = fs::read(folder.join("study/M3D_Cap/ct_case").join("000001/Series_1.nii.gz")).unwrap();
    let (status, _, body) = server.ask("POST /api/files", &[], &file);
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let dropped: Value = serde_json::from_slice(&body).unwrap();
    let events = server.events(&json!({"volume": dropped["key"], "question": "Where?"}));
    assert_eq!(events.last().unwrap().0, "done");
    assert_eq!(fs::read_dir(folder.join("scratch")).unwrap().count(), 0);

    // What is wrong is said.
    let ask = |asked: Value| server.refused("POST /api/ask", &[], asked.to_string().as_bytes());
    for (found, status, words) in [
        (ask(json!({"volume": "nothing", "question": "Where?"})), 404, "that volume is not here"),
        (ask(json!({"volume": volume, "question": " "})), 400, "expected a question"),
        (ask(json!({"volume": volume, "question": "<image3d> Where?"})), 400, "a text without <image3d>"),
        (ask(json!({"volume": volume, "question": "Where?", "max_new_tokens": 7})), 400, "1 to 6"),
        (ask(json!({"volume": volume, "question": "Where?", "temperature": -1.0})), 400, "temperature"),
        (ask(json!({"volume": volume})), 400, "missing field `question`"),
        (server.refused("POST /api/files", &[], b"no volume"), 422, "expected a NIfTI volume"),
        (server.refused("POST /api/files", &[], &file[..file.len() / 2]), 422, "dropped.nii.gz"),
        (server.refused("POST /api/files", &[], &vec![0; 2 << 20]), 413, "at most 1 MiB"),
        (server.refused("GET /api/volumes/..%2F..%2Fetc", &[], b""), 404, "not here"),
        (server.refused("GET /etc/passwd", &[], b""), 404, "nothing is here"),
        (server.refused("GET /", &[("Host", "evil.example")], b""), 403, "another host"),
        (server.refused("GET /api/volumes", &[("Origin", "http://evil.example")], b""), 403, "another origin"),
        (server.refused("GET /api/volumes", &[("Sec-Fetch-Site", "cross-site")], b""), 403, "another site"),
    ] {
        assert!(found.0 == status && found.1.contains(words), "{found:?}, not {status} {words}");
        assert!(!found.1.contains("scratch"), "{found:?}");
    }
    assert_eq!(fs::read_dir(folder.join("scratch")).unwrap().count(), 0);
    assert_eq!(server.stop(), 0);

    // Other machines need the token.
    let serve = |more: &[&str]| {
        let mut command = program("med2e3");
        command.args(["serve", "--device", "cpu", "--checkpoint"]).arg(folder.join("run")).args(more);
        run_to(2, &mut command).err
    };
    let open = serve(&["--address", "0.0.0.0:0"]);
    assert!(open.contains("--address") && open.contains("--token-file"), "{open}");
    let secret = folder.join("token");
    fs::write(&secret, "short\n").unwrap();
    let secret_path = secret.display().to_string();
    assert!(serve(&["--token-file", &secret_path]).contains("a token of 16 or more"));
    fs::write(&secret, "0123456789abcdef\n").unwrap();
    let server = Server::start(folder, &["--token-file", &secret_path]);
    assert_eq!(server.refused("GET /", &[], b"").0, 403);
    assert_eq!(server.refused("GET /?token=0123456789abcdeg", &[], b"").0, 403);
    let (status, head, _) = server.ask("GET /?token=0123456789abcdef", &[], b"");
    assert!(status == 303 && head.contains("HttpOnly; SameSite=Strict"), "{head}");
    let cookie = [("Cookie", "med2e3-token=0123456789abcdef")];
    assert_eq!(server.ask("GET /api/volumes", &cookie, b"").0, 200);
    assert_eq!(server.ask("GET /api/volumes", &[("Authorization", "Bearer 0123456789abcdef")], b"").0, 200);
    assert_eq!(server.stop(), 0);
}
