//! `med2e3` from the outside: train, stop and go on, evaluate, explain, generate, retrieve, on a phantom study and a tiny model.

use std::fs;
use std::path::Path;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::Value;

fn losses(report: &Path) -> Vec<f64> {
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    report["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap()).collect()
}

#[test]
fn a_stopped_run_goes_on_to_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "whole", &[]));
    run_to(0, &mut train(folder, "stopped", &[]));
    // As if killed after the first checkpoint: a later step is logged, the last checkpoint never appeared.
    fs::remove_dir_all(folder.join("stopped/step-6")).unwrap();
    fs::remove_file(folder.join("stopped/report.json")).unwrap();
    run_to(0, train(folder, "stopped", &[]).arg("--resume"));
    assert_eq!(losses(&folder.join("whole/report.json")), losses(&folder.join("stopped/report.json")));
    for file in ["llm/model.safetensors", "vision2d_model/model.safetensors", "state/optimizer.safetensors"] {
        let bytes = |run: &str| fs::read(folder.join(run).join("step-6").join(file)).unwrap();
        assert!(bytes("whole") == bytes("stopped"), "{file} differs");
    }

    let said = run_to(2, &mut train(folder, "whole", &[]));
    assert!(said.err.contains("--resume"), "{}", said.err);
    let said = run_to(2, &mut train(folder, "whole", &["seed=9"]));
    assert!(said.err.contains("another run") && said.err.contains("seed is 1 there, 9 here"), "{}", said.err);
    assert!(!said.err.contains("remove"), "{}", said.err);
}

/// The kinds of a safetensors file's tensors, by name.
fn kinds(path: &Path) -> Vec<(String, String)> {
    let bytes = fs::read(path).unwrap();
    let (length, rest) = bytes.split_at(8);
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&rest[..length]).unwrap();
    let tensors = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    tensors.map(|(name, tensor)| (name.clone(), tensor["dtype"].as_str().unwrap().to_owned())).collect()
}

#[test]
fn a_run_in_bf16_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let bf16 = |more: &[&'static str]| [&["compute.precision=\"bf16\""], more].concat();
    run_to(0, &mut train(folder, "f32", &[]));
    run_to(0, &mut train(folder, "whole", &bf16(&[])));
    run_to(0, &mut train(folder, "stopped", &bf16(&[])));
    fs::remove_dir_all(folder.join("stopped/step-6")).unwrap();
    fs::remove_file(folder.join("stopped/report.json")).unwrap();
    run_to(0, train(folder, "stopped", &bf16(&[])).arg("--resume"));
    let [f32, whole, stopped] = ["f32", "whole", "stopped"].map(|run| losses(&folder.join(run).join("report.json")));
    assert_eq!(whole, stopped);
    assert!(f32.iter().zip(&whole).all(|(f32, bf16)| (f32 - bf16).abs() < 2e-2 * f32), "{f32:?} {whole:?}");
    for file in ["llm/model.safetensors", "vision2d_model/model.safetensors", "state/optimizer.safetensors"] {
        let path = |run: &str| folder.join(run).join("step-6").join(file);
        assert!(fs::read(path("whole")).unwrap() == fs::read(path("stopped")).unwrap(), "{file} differs");
        for (name, kind) in kinds(&path("whole")) {
            let expected = match name.split('/').next() {
                Some("remainder") => "I16",
                Some("exp_avg" | "exp_avg_sq") => "F32",
                _ => "BF16",
            };
            assert_eq!(kind, expected, "{name}");
        }
    }
    let state = kinds(&folder.join("whole/step-6/state/optimizer.safetensors"));
    assert_eq!(state.iter().filter(|(_, kind)| kind == "I16").count() * 3, state.len());

    // Frozen parts are bf16 too, and have no state; another kind is another run.
    let connectors = bf16(&["model.train=[\"vision2d_connector\", \"vision3d_connector\"]", "data.max_steps=1"]);
    run_to(0, &mut train(folder, "connectors", &connectors));
    assert!(kinds(&folder.join("connectors/step-1/llm/model.safetensors")).iter().all(|(_, kind)| kind == "BF16"));
    let state = kinds(&folder.join("connectors/step-1/state/optimizer.safetensors"));
    assert!(state.iter().all(|(name, _)| name.contains("connector/")));
    let said = run_to(2, train(folder, "f32", &bf16(&[])).arg("--resume")).err;
    assert!(said.contains("compute.precision is absent there, \"bf16\" here"), "{said}");
}

#[test]
fn a_fresh_model_has_the_vocabulary_of_the_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // As a run without a configuration asks for: more entries than the few texts give.
    dataset(folder, &["text.tokenizer={train=8192}"]);
    let short = ["data.max_steps=1", "checkpoint.every_steps=1"];
    run_to(0, &mut train(folder, "run", &short));
    let json = |path: &str| serde_json::from_str::<Value>(&fs::read_to_string(folder.join(path)).unwrap()).unwrap();
    let tokenizer = json("dataset/tokenizer.json");
    let largest = tokenizer["model"]["vocab"].as_object().unwrap().values().filter_map(Value::as_u64).max().unwrap();
    assert!(largest > 256 && largest < 4096, "{largest}");
    assert_eq!(json("run/step-1/llm/config.json")["vocab_size"], largest + 1);
    let said =
        run_to(2, &mut train(folder, "small", &[&short[..], &["model.start.fresh.llm.vocab_size=300"]].concat()));
    let words = format!("model.llm.vocab_size: expected {} or more", largest + 1);
    assert!(said.err.contains(&words) && said.err.contains("found 300"), "{}", said.err);
}

#[test]
fn a_trained_model_answers_and_says_where_it_looked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &[]));
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let verb = |verb: &str, out: &str| {
        let mut command = program("med2e3");
        command.args([verb, &format!("configs/demo/{verb}.toml"), "--json", "--out"]).arg(folder.join(out));
        command.args([
            "--set",
            &format!("dataset={}", path("dataset")),
            "--set",
            &format!("checkpoint={}", path("run")),
        ]);
        command.args(["--set", "device=cpu", "--set", "threads=1"]);
        command
    };

    let said = run_to(0, &mut verb("evaluate", "evaluate"));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    // Two test captions, two rows of the test CSV in two forms.
    assert_eq!(report["answers"].as_array().unwrap().len(), 6);
    let closed = report["scores"].as_array().unwrap().iter().find(|s| s["metric"] == "correct").unwrap();
    assert_eq!((closed["count"].as_u64(), closed["chance"].as_f64()), (Some(2), Some(0.5)));

    run_to(0, &mut verb("explain", "explain"));
    let csv = fs::read_to_string(folder.join("explain/scores.csv")).unwrap();
    let slices = csv.lines().next().unwrap().split(',').filter(|name| name.starts_with("slice_")).count();
    let scores: Vec<f64> =
        csv.lines().nth(1).unwrap().rsplit(',').take(slices).map(|score| score.parse().unwrap()).collect();
    assert_eq!(scores.len(), 4);
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{scores:?}");

    let mut command = program("med2e3");
    command.args(["generate", "--json", "--question", "Is the number even, or odd?", "--max-new-tokens", "4"]);
    command.args(["--device", "cpu"]).arg("--checkpoint").arg(folder.join("run"));
    command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
    let reply: Value = serde_json::from_str(&run_to(0, &mut command).out).unwrap();
    assert_eq!(reply["scores"].as_array().unwrap().len(), 4);
}

#[test]
fn a_flipped_bit_in_a_checkpoint_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &["data.max_steps=1"]));
    let weights = folder.join("run/step-1/llm/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let mut command = program("med2e3");
    command.args(["generate", "--question", "?", "--checkpoint"]).arg(folder.join("run"));
    command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
    let said = run_to(2, &mut command);
    assert!(said.err.contains("llm/model.safetensors") && said.err.contains("blake3"), "{}", said.err);
}

#[test]
fn a_model_that_does_not_fit_the_dataset_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let said = run_to(2, &mut train(folder, "run", &["model.start.fresh.vision3d.img_size=[8,16,16]"]));
    assert!(said.err.contains("img_size") && said.err.contains("[4, 16, 16]"), "{}", said.err);
}

/// A run of the small random M3D-CLIP among the golden files, which reads volumes of the phantom's shape.
const RETRIEVE: &str = r#"
device = "cpu"
threads = 1
clip = "trainer/tests/golden/m3d_clip_tiny"
text_tokenizer = "trainer/tests/golden/m3d_clip_tiny"
split = "train"
batch_size = 2
max_text_tokens = 16
"#;

#[test]
fn a_published_clip_ranks_captions_and_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let data = folder.join("dataset").display().to_string();
    fs::write(folder.join("retrieve.toml"), format!("dataset = {data:?}\n{RETRIEVE}")).unwrap();
    let retrieve = |out: &str, more: &[&str]| {
        let mut command = program("med2e3");
        command.arg("retrieve").arg(folder.join("retrieve.toml")).args(["--json", "--out"]).arg(folder.join(out));
        more.iter().for_each(|set| {
            command.args(["--set", set]);
        });
        command
    };

    let report: Value = serde_json::from_str(&run_to(0, &mut retrieve("whole", &[])).out).unwrap();
    // Five good series with a caption each; the captions of the broken ones have no volume.
    let count = |name: &str| report[name].as_u64().unwrap();
    assert_eq!((count("pairs"), count("distinct_texts"), count("truncated_texts")), (5, 5, 0));
    assert!(count("samples_without_volume") > 0);
    assert_eq!(report["by_index"], report["by_text"]);
    assert_eq!(report["by_index"]["image_to_text"]["at_5"], 1.0);
    let csv = fs::read_to_string(folder.join("whole/retrieval.csv")).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 5);
    for row in &rows {
        // The first column's rank is 1 exactly where the pair's own caption is first.
        assert_eq!((row[2] == "1", row[3] == "1"), (row[0] == row[6], row[1] == row[7]), "{row:?}");
    }
    let share = rows.iter().filter(|row| row[3] == "1").count() as f64 / 5.0;
    assert_eq!(report["by_index"]["text_to_image"]["at_1"].as_f64(), Some(share));

    // Cut before the number, all captions are one: nothing but ties, and a tie never helps.
    let said = run_to(0, &mut retrieve("cut", &["max_text_tokens=6"]));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["truncated_texts"], 5);
    assert_eq!(report["by_index"]["image_to_text"], serde_json::json!({"at_1": 0.0, "at_5": 1.0, "at_10": 1.0}));

    let said = run_to(2, &mut retrieve("long", &["max_text_tokens=17"]));
    assert!(said.err.contains("max_text_tokens") && said.err.contains("at most 16"), "{}", said.err);
    let said = run_to(2, &mut retrieve("file", &["clip=\"trainer/tests/golden/bert.safetensors\""]));
    assert!(said.err.contains("golden/config.json"), "{}", said.err);
}

#[test]
fn a_run_goes_on_after_changes_that_nothing_learns_from() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "whole", &[]));
    let said = run_to(0, train(folder, "run", &[]).arg("--resume"));
    assert!(said.err.contains("no run yet"), "{}", said.err);
    let mut data = folder.join("dataset");
    for (change, moved) in [("data.readers=2", false), ("data.depth=2", false), ("checkpoint.every_steps=2", true)] {
        fs::remove_dir_all(folder.join("run/step-6")).unwrap();
        if moved {
            fs::rename(&data, folder.join("moved")).unwrap();
            data = folder.join("moved");
        }
        let path = format!("data.dataset={:?}", data.display().to_string());
        run_to(0, train(folder, "run", &[change, &path]).arg("--resume"));
        assert_eq!(losses(&folder.join("whole/report.json")), losses(&folder.join("run/report.json")), "{change}");
    }
    let path = format!("data.dataset={:?}", data.display().to_string());
    let said = run_to(2, train(folder, "run", &["optimizer.learning_rate=1e-4", &path]).arg("--resume"));
    assert!(said.err.contains("optimizer.learning_rate") && !said.err.contains("remove"), "{}", said.err);
}

/// Samples that a run has behind a checkpoint.
fn position(run: &Path, step: u64) -> u64 {
    let state = fs::read_to_string(run.join(format!("step-{step}/state/state.json"))).unwrap();
    serde_json::from_str::<Value>(&state).unwrap()["cursor"]["position"].as_u64().unwrap()
}

#[test]
fn a_run_goes_on_at_the_next_sample_with_another_batch_and_in_no_other_order() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let mix = |shares: &str| format!("data.order={{mix={{{shares}}}}}");
    let tasks = "data.tasks=[\"caption\",\"open_vqa\"]";
    let form = "data.form=\"conversation\"";
    let run = |more: &[&str]| train(folder, "run", &[&["data.epochs=9", tasks, form], more].concat());
    let (wide, narrow) = (mix("caption=0.75,open_vqa=0.25"), mix("caption=1,open_vqa=1"));
    for (set, key, found) in [
        (vec![mix("caption=1").as_str()], "data.order.mix.open_vqa", "none"),
        (vec![&mix("caption=1,open_vqa=1,closed_vqa=1")], "data.order.mix.closed_vqa", "one that it does not"),
        (vec![&mix("caption=-1,open_vqa=1")], "data.order.mix", "-1"),
        (vec![&mix("caption=nan,open_vqa=1")], "data.order.mix", "NaN"),
        (vec![&mix("caption=0,open_vqa=0")], "data.order.mix", "0"),
        (vec!["data.order={group_by_volume=3}"], "data.order.group_by_volume", "3"),
        (vec!["data.order={length_buckets={window=8,unit=3}}"], "data.order.length_buckets.unit", "3"),
        (vec!["data.order={length_buckets={window=7,unit=2}}"], "data.order.length_buckets.window", "7"),
        (vec!["data.order={length_buckets={window=0,unit=2}}"], "data.order.length_buckets.window", "0"),
        (vec!["step.batch=1000", "data.tail=drop"], "step.batch", "1000"),
    ] {
        let said = run_to(2, &mut run(&set)).err;
        assert!(said.contains(key) && said.contains(&format!("found {found}")), "{set:?}: {said}");
    }

    run_to(0, &mut run(&[&wide, "data.tail=straddle"]));
    assert_eq!(position(&folder.join("run"), 6), 12);
    for (order, tail, key) in [(&narrow, "straddle", "data.order"), (&wide, "drop", "data.tail")] {
        let said = run_to(2, run(&[order, &format!("data.tail={tail}"), "data.max_steps=9"]).arg("--resume")).err;
        assert!(said.contains(key) && said.contains("there"), "{said}");
        // How weights are changed is said where they were.
        assert_eq!(said.contains("data.order.mix.then"), key == "data.order", "{said}");
    }
    let early = mix("caption=0.75,open_vqa=0.25,then=[{from=7,caption=1,open_vqa=1}]");
    let said = run_to(2, run(&[&early, "data.tail=straddle"]).arg("--resume")).err;
    assert!(
        said.contains("data.order.mix.then") && said.contains("a multiple of 1000, 1000 or more, found 7"),
        "{said}"
    );
    let changed = mix("caption=0.75,open_vqa=0.25,then=[{from=1000,caption=1,open_vqa=1}]");
    let more = [&changed, "data.tail=straddle", "step.batch=5", "data.max_steps=9", "data.readers=2"];
    let said = run_to(0, run(&more).arg("--resume")).err;
    assert!(said.contains("step.batch is 2 there, 5 here: the learning rate falls over the new length"), "{said}");
    assert_eq!(position(&folder.join("run"), 9), 27);
}

const PERCENTILES: &str = r#"volume.recipe={ct={intensity={percentile={low=2,high=98}},crop="none"}}"#;

#[test]
fn generate_makes_its_inputs_as_the_dataset_made_them() {
    for more in
        [vec!["text.template=\"m3d\""], vec!["text.template=\"phi3_chat\"", "volume.voxels=\"i16\""], vec![PERCENTILES]]
    {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        dataset(folder, &more);
        run_to(0, &mut train(folder, "run", &["data.tasks=[\"caption\", \"open_vqa\"]"]));
        let tasks = "tasks=[\"caption\", \"open_vqa\"]";
        let said = run_to(0, &mut evaluate(folder, "run", "dataset", "evaluate", &["split=\"train\"", tasks]));
        let report: Value = serde_json::from_str(&said.out).unwrap();
        let mut asked = 0;
        for answer in report["answers"].as_array().unwrap() {
            // The captions' texts name their series; series with an odd number are NIfTI files.
            let expected = answer["expected"].as_str().unwrap();
            let Some(number) = expected.strip_prefix("A disc of size ") else { continue };
            let number: usize = number.trim_end_matches('.').parse().unwrap();
            if number.is_multiple_of(2)
                || !folder.join(format!("study/M3D_Cap/ct_case/{number:06}/Series_{number}.nii.gz")).exists()
            {
                continue;
            }
            let mut command = program("med2e3");
            command.args(["generate", "--json", "--max-new-tokens", "6", "--device", "cpu", "--question"]);
            command.arg(answer["question"].as_str().unwrap()).arg("--checkpoint").arg(folder.join("run"));
            command.arg("--volume");
            command.arg(folder.join(format!("study/M3D_Cap/ct_case/{number:06}/Series_{number}.nii.gz")));
            let said = run_to(0, &mut command);
            let reply: Value = serde_json::from_str(&said.out).unwrap();
            assert_eq!(said.err, "", "nothing has to be said");
            assert_eq!(reply["answer"], answer["answer"], "{more:?}");
            for (a, b) in reply["scores"].as_array().unwrap().iter().zip(answer["scores"].as_array().unwrap()) {
                assert!((a.as_f64().unwrap() - b.as_f64().unwrap()).abs() < 1e-6, "{more:?}: {reply} {answer}");
            }
            asked += 1;
        }
        assert!(asked >= 2, "{asked} questions of {more:?}");
    }
}

#[test]
fn a_dataset_of_other_inputs_is_refused_unless_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &[]));
    fs::rename(folder.join("dataset"), folder.join("first")).unwrap();
    let tokenizer = format!("text.tokenizer={{path={:?}}}", folder.join("first/tokenizer.json").display().to_string());
    let start = format!("model.start={{checkpoint={:?}}}", folder.join("run").display().to_string());
    for (more, words) in [
        (vec![PERCENTILES, tokenizer.as_str()], ["recipe: m3d", "ct with intensity percentiles 2 to 98"]),
        (vec!["text.template=\"m3d\"", tokenizer.as_str()], ["template: phi", "m3d in the dataset"]),
        (vec!["text.tokenizer={train=300}", "text.length=400"], ["tokenizer:", "in the checkpoint"]),
    ] {
        dataset(folder, &more);
        let said = run_to(2, &mut evaluate(folder, "run", "dataset", "evaluate", &["split=\"train\""]));
        assert!(words.iter().all(|word| said.err.contains(word)) && said.err.contains("other_inputs"), "{}", said.err);
        let said =
            run_to(0, &mut evaluate(folder, "run", "dataset", "told", &["split=\"train\"", "other_inputs=accept"]));
        assert!(words.iter().all(|word| said.err.contains(word)), "{}", said.err);

        // The whole table of the start is another one, so the overrides of its sizes go.
        let mut command = program("med2e3");
        let text = fs::read_to_string("../configs/demo/pretrain.toml").unwrap();
        let (head, rest) = text.split_once("[model.start.fresh]").unwrap();
        let step = &rest[rest.find("[step]").unwrap()..];
        fs::write(folder.join("second.toml"), format!("{head}{step}")).unwrap();
        command.arg("train").arg(folder.join("second.toml")).arg("--out").arg(folder.join("second"));
        let data = format!("data.dataset={:?}", folder.join("dataset").display().to_string());
        for set in [start.as_str(), &data, "device=cpu", "threads=1", "data.max_steps=1"] {
            command.args(["--set", set]);
        }
        let said = run_to(2, &mut command);
        assert!(words.iter().all(|word| said.err.contains(word)), "{}", said.err);
        assert!(!folder.join("second").exists(), "a run that did not begin leaves no folder");
        for used in ["dataset", "told"] {
            fs::remove_dir_all(folder.join(used)).unwrap();
        }
    }
}

#[test]
fn every_preset_that_needs_no_text_encoder_trains_the_parts_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let trained = |out: &str, variant: &str| -> Vec<String> {
        let report = run_to(0, &mut train(folder, out, &[variant, "data.max_steps=1"])).out;
        let report: Value = serde_json::from_str(&report).unwrap();
        report["trained"].as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned()).collect()
    };
    let three = ["llm", "vision3d_model", "vision3d_connector"];
    let two = ["llm", "vision2d_model", "vision2d_connector"];
    for (preset, parts) in [("vision3d_only", three), ("m3d_lamed", three), ("vision2d_only", two)] {
        assert_eq!(trained(preset, &format!("model.start.fresh.variant=\"{preset}\"")), parts);
    }
    assert_eq!(trained("hand", "model.start.fresh.variant.visual_tokens=\"vision2d\""), two);
    for preset in [
        "paper",
        "mean",
        "max",
        "random",
        "gauss",
        "top3",
        "linear_both",
        "linear_3d",
        "linear_2d",
        "text_3d",
        "text_2d",
    ] {
        assert_eq!(trained(preset, &format!("model.start.fresh.variant=\"{preset}\"")).len(), 5, "{preset}");
    }
    for preset in ["released", "released_3d", "released_2d"] {
        let variant = format!("model.start.fresh.variant=\"{preset}\"");
        let said = run_to(2, &mut train(folder, preset, &[&variant]));
        assert!(said.err.contains("text.question_tokenizer"), "{}", said.err);
    }
}

#[test]
fn messages_say_what_is_there_and_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let refused = |more: &[&str]| run_to(2, &mut train(folder, "refused", more)).err;
    for (set, words) in [
        ("data.max_steps=0", "data.max_steps: expected 1 or more"),
        ("data.tasks=[]", "data.tasks: expected one or more of caption"),
        ("model.train=[]", "model.train"),
        ("optimizer.beta2=1.5", "optimizer.beta2: expected 0 to below 1, found 1.5"),
        ("data.form=\"prompt\"", "data.form"),
        ("model.start.fresh.variant.max_length=20", "model.variant.max_length"),
    ] {
        let said = refused(&[set]);
        assert!(said.contains(words), "{set}: {said}");
        assert!(!folder.join("refused").exists(), "{set}");
    }
    let said = refused(&["optimizer.learning_rate=1e30", "optimizer.warmup_ratio=0.0", "checkpoint.every_steps=100"]);
    assert!(said.contains("not finite") && said.contains("is kept"), "{said}");

    run_to(0, &mut train(folder, "run", &[]));
    let generate = |question: &str, more: &[&str]| {
        let mut command = program("med2e3");
        command.args(["generate", "--device", "cpu", "--question", question, "--checkpoint"]).arg(folder.join("run"));
        command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz")).args(more);
        command
    };
    let said = run_to(2, &mut generate("<image3d>\nWhich?", &[])).err;
    assert!(said.contains("--question") && said.contains("<image3d>"), "{said}");
    let said = run_to(2, &mut generate("Which?", &["--temperature", "-1"])).err;
    assert!(said.contains("temperature") && said.contains("above 0"), "{said}");
    run_to(0, &mut generate("Which?", &["--beams", "2", "--length-penalty", "-1", "--max-new-tokens", "3"]));

    // A damaged last checkpoint, and the one before it.
    let weights = folder.join("run/step-6/llm/model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    bytes[100] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let said = run_to(2, &mut generate("Which?", &[])).err;
    assert!(said.contains("blake3") && said.contains("step-3 is whole"), "{said}");
    let said = run_to(2, train(folder, "run", &[]).arg("--resume")).err;
    assert!(said.contains("step-3 is whole"), "{said}");
}
