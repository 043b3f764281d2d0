//! `med2e3 serve` from the outside: who may ask, what is answered, and that nothing stays.

use std::fs;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::server::Server;
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::{Value, json};

#[test]
fn one_asks_about_volumes_and_dropped_files_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
    run_to(0, &mut evaluate(folder, "run", "dataset", "answers", &["tasks=[\"open_vqa\"]", "controls=0"]));
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
