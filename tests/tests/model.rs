//! `med2e3` as a door for weights: the released layout in, verified against its reference, and out again; adapters next to a
//! frozen language model; a scorer that reads questions through a text encoder.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, train};
use serde_json::Value;

const RELEASED: &str = "trainer/tests/golden/released";
const REFERENCE: &str = "trainer/tests/golden/released/reference.safetensors";

fn verify(checkpoint: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3");
    command.args(["verify", "--device", "cpu", "--reference", REFERENCE]).args(more);
    command.arg("--checkpoint").arg(checkpoint);
    command
}

fn import(out: &Path, more: &[&str]) -> Command {
    let mut command = program("med2e3");
    command.arg("import").args(more).arg("--out").arg(out);
    command
}

#[test]
fn the_released_layout_is_verified_imported_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let said = run_to(0, &mut verify(Path::new(RELEASED), &["--tolerance", "1e-5", "--json"]));
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let compared = report["comparisons"].as_array().unwrap();
    assert_eq!(compared.len(), 11);
    assert!(compared.iter().all(|tensor| tensor["passes"] == true));
    assert_eq!(report["variant"]["text_feature"], "m3d_clip");
    // SigLIP's pooling head, M3D-CLIP's projections and logit scale.
    assert_eq!(report["passed_over"], 16);

    // The variant matters, and so does the precision.
    let said = run_to(1, &mut verify(Path::new(RELEASED), &["--variant", "max"]));
    assert!(said.out.contains("beyond the tolerance"), "{}", said.out);
    run_to(1, &mut verify(Path::new(RELEASED), &["--precision", "bf16", "--tolerance", "1e-5"]));
    run_to(0, &mut verify(Path::new(RELEASED), &["--precision", "bf16", "--tolerance", "2e-2"]));

    let imported = folder.join("imported");
    let said = run_to(0, &mut import(&imported, &["--released", RELEASED]));
    assert!(said.out.contains("logit_scale") && said.out.contains("no tokenizer"), "{}", said.out);
    run_to(0, &mut verify(&imported, &["--tolerance", "1e-5"]));
    let said = run_to(2, &mut import(&imported, &["--released", RELEASED]));
    assert!(said.err.contains("is not empty"), "{}", said.err);

    // As the released evaluation has it: the map behind the text feature is drawn anew.
    let fresh = folder.join("fresh");
    run_to(0, &mut import(&fresh, &["--released", RELEASED, "--text-projection", "fresh"]));
    let said = run_to(1, &mut verify(&fresh, &[]));
    let off: Vec<&str> = said.out.lines().filter(|line| line.contains("beyond")).collect();
    assert!(off.iter().any(|line| line.starts_with("scores")) && !off.iter().any(|line| line.starts_with("z3d")));

    let exported = folder.join("exported");
    let mut command = program("med2e3");
    command.args(["export", "--precision", "bf16", "--checkpoint"]).arg(&imported).arg("--out").arg(&exported);
    run_to(0, &mut command);
    // The fixture's weights are bf16 numbers, so nothing is lost.
    run_to(0, &mut verify(&exported, &["--tolerance", "1e-5"]));
    let size = |folder: &Path| fs::metadata(folder.join("llm/model.safetensors")).unwrap().len();
    assert!(size(&exported) < size(&imported) * 6 / 10);
    for part in ["llm", "vision2d_model", "vision3d_model"] {
        let text = fs::read_to_string(exported.join(part).join("config.json")).unwrap();
        assert!(serde_json::from_str::<Value>(&text).unwrap()["model_type"].is_string(), "{part}");
    }
}

#[test]
fn parts_from_several_places_and_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let part = |name: &str| format!("{RELEASED}/{name}");
    let (llm, vision2d, vision3d) = (part("llm"), part("vision2d_model"), part("vision3d_model"));

    // A first stage: published parts, connectors drawn from the seed.
    fs::create_dir(folder.join("siglip")).unwrap();
    fs::copy(format!("../{vision2d}/pytorch_model.bin"), folder.join("siglip/pytorch_model.bin")).unwrap();
    let siglip = folder.join("siglip").display().to_string();
    let parts = ["--llm", &llm, "--vision2d", &siglip, "--vision3d", &vision3d, "--variant", "paper"];
    let said = run_to(2, &mut import(&folder.join("paper"), &parts));
    assert!(said.err.contains("siglip/config.json"), "{}", said.err);
    let sizes = r#"{"hidden_size":24,"intermediate_size":40,"num_hidden_layers":2,"num_attention_heads":3,"image_size":16,"patch_size":8}"#;
    fs::write(folder.join("siglip/config.json"), sizes).unwrap();
    let said = run_to(0, &mut import(&folder.join("paper"), &parts));
    assert_eq!(said.out.matches("drawn from the seed").count(), 2, "{}", said.out);
    let said = run_to(1, &mut verify(&folder.join("paper"), &[]));
    assert!(said.out.lines().any(|line| line.starts_with("z2d") && line.contains("beyond")), "{}", said.out);

    // A width that is not the weights' is named with the tensor, a missing file with its place.
    fs::write(folder.join("siglip/config.json"), sizes.replace("\"hidden_size\":24", "\"hidden_size\":48")).unwrap();
    let said = run_to(2, &mut import(&folder.join("wide"), &parts));
    assert!(said.err.contains("expected shape [48") && said.err.contains("siglip/pytorch_model.bin"), "{}", said.err);
    let said = run_to(2, &mut import(&folder.join("none"), &["--llm", &llm, "--variant", "vision3d_only"]));
    assert!(said.err.contains("vision3d_model"), "{}", said.err);
    let said = run_to(2, &mut import(&folder.join("linear"), &["--released", RELEASED, "--variant", "linear_both"]));
    assert!(said.err.contains("scoring_module.weight is missing"), "{}", said.err);
}

#[test]
fn adapters_are_trained_stored_resumed_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let lora = r#"model.lora={rank=2,alpha=8.0,dropout=0.1,targets=["qkv_proj","down_proj"]}"#;
    let more = [lora, r#"model.train=["llm","vision3d_connector"]"#, "optimizer.learning_rate=1e-2"];
    run_to(0, &mut train(folder, "run", &more));
    let (first, last) = (folder.join("run/step-3"), folder.join("run/step-6"));
    let bytes = |step: &Path, file: &str| fs::read(step.join(file)).unwrap();
    assert!(bytes(&first, "llm/model.safetensors") == bytes(&last, "llm/model.safetensors"), "the base is frozen");
    assert!(bytes(&first, "adapters/adapter_model.safetensors") != bytes(&last, "adapters/adapter_model.safetensors"));
    let config: Value = serde_json::from_slice(&bytes(&last, "adapters/adapter_config.json")).unwrap();
    assert_eq!((config["r"].as_i64(), config["lora_alpha"].as_f64()), (Some(2), Some(8.0)));

    let kept = bytes(&last, "adapters/adapter_model.safetensors");
    fs::remove_dir_all(&last).unwrap();
    run_to(0, train(folder, "run", &more).arg("--resume"));
    assert!(bytes(&last, "adapters/adapter_model.safetensors") == kept, "a resumed run trains the same adapters");

    let mut command = program("med2e3");
    command.arg("export").arg("--checkpoint").arg(&last).arg("--out").arg(folder.join("merged"));
    let said = run_to(0, &mut command);
    assert!(said.out.contains("adapters merged"), "{}", said.out);
    assert!(!folder.join("merged/adapters").exists());
    let answer = |checkpoint: &Path| {
        let mut command = program("med2e3");
        command.args(["generate", "--json", "--question", "Is the number even, or odd?", "--max-new-tokens", "6"]);
        command.args(["--device", "cpu", "--checkpoint"]).arg(checkpoint);
        command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
        serde_json::from_str::<Value>(&run_to(0, &mut command).out).unwrap()
    };
    assert_eq!(answer(&last)["answer"], answer(&folder.join("merged"))["answer"]);

    let wrong = r#"model.lora={rank=2,alpha=8.0,dropout=0.1,targets=["q_proj"]}"#;
    let said = run_to(2, &mut train(folder, "wrong", &[wrong]));
    assert!(said.err.contains("lora.targets: expected some of qkv_proj"), "{}", said.err);
}

#[test]
fn embeddings_and_head_learn_whole_beside_adapters() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    let more = [
        r#"model.lora={rank=2,alpha=8.0,dropout=0.1,targets=["all-linear"]}"#,
        r#"model.train={llm={blocks="lora",embeddings="full",head={how="full",learning_rate=0.0}},vision3d_connector="full"}"#,
        "optimizer.learning_rate=1e-2",
    ];
    let report: Value = serde_json::from_str(&run_to(0, &mut train(folder, "run", &more)).out).unwrap();
    let trained = ["llm.blocks by adapters", "llm.embeddings", "llm.head", "vision3d_connector"];
    assert_eq!(report["trained"], serde_json::json!(trained));
    let (first, last) = (folder.join("run/step-3"), folder.join("run/step-6"));
    assert_eq!(read_json(&last.join("state/state.json"))["trained"], serde_json::json!(trained));
    let stored = |step: &Path, file: &str| weights(&step.join(file));
    let [base, moved] = [&first, &last].map(|step| stored(step, "llm/model.safetensors"));
    for (name, values) in &base {
        // The head has a rate of 0, and no own weight of the blocks learns.
        assert_eq!(*values != moved[name], name == "model.embed_tokens.weight", "{name}");
    }
    let adapters = stored(&last, "adapters/adapter_model.safetensors");
    for table in ["model.embed_tokens.weight", "lm_head.weight"] {
        assert!(adapters[&format!("base_model.model.{table}")] == moved[table], "{table}");
    }
    let config = read_json(&last.join("adapters/adapter_config.json"));
    assert_eq!(config["modules_to_save"], serde_json::json!(["embed_tokens", "lm_head"]));

    // A resumed run ends with the same bytes.
    let bytes = |file: &str| fs::read(last.join(file)).unwrap();
    let files = ["llm/model.safetensors", "adapters/adapter_model.safetensors", "state/optimizer.safetensors"];
    let kept = files.map(bytes);
    fs::remove_dir_all(&last).unwrap();
    run_to(0, train(folder, "run", &more).arg("--resume"));
    assert!(files.map(bytes) == kept);

    // On the base before training, what the adapters' folder holds is the whole language model.
    let base = folder.join("run/step-3");
    let part = |name: &str| base.join(name).display().to_string();
    let (llm, vision2d, vision3d) = (part("llm"), part("vision2d_model"), part("vision3d_model"));
    let adapters = last.join("adapters").display().to_string();
    let parts = ["--llm", &llm, "--vision2d", &vision2d, "--vision3d", &vision3d, "--variant", "paper"];
    run_to(0, &mut import(&folder.join("imported"), &[&parts[..], &["--adapters", &adapters]].concat()));
    for file in ["llm/model.safetensors", "adapters/adapter_model.safetensors"] {
        assert!(stored(&folder.join("imported"), file) == stored(&last, file), "{file}");
    }
    assert_eq!(read_json(&folder.join("imported/adapters/adapter_config.json")), config);

    for (change, words) in [
        (r#"model.train={llm={embeddings="lora"}}"#, "model.train.llm.embeddings: expected full or frozen"),
        (r#"model.train={llm={embeddings="full"}}"#, "model.lora: expected llm in the list"),
        (r#"model.train={llm={block="lora"}}"#, "did you mean `blocks`?"),
    ] {
        let said = run_to(2, &mut train(folder, "wrong", &[more[0], change]));
        assert!(said.err.contains(words), "{change}: {}", said.err);
    }
    let said = run_to(2, &mut train(folder, "wrong", &[more[1]]));
    assert!(said.err.contains("model.train.llm.blocks: expected frozen or full, or adapters"), "{}", said.err);
}

/// The tensors of a safetensors file, as bytes by name.
fn weights(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (header, data) = bytes[8..].split_at(u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize);
    let header: BTreeMap<String, Value> = serde_json::from_slice(header).unwrap();
    let range = |entry: &Value| [0, 1].map(|end| entry["data_offsets"][end].as_u64().unwrap() as usize);
    let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__");
    tensors
        .map(|(name, entry)| (name, range(&entry)))
        .map(|(name, [from, to])| (name, data[from..to].to_vec()))
        .collect()
}

#[test]
fn questions_go_through_the_text_encoder_where_the_variant_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let tokenizer = "trainer/tests/golden/m3d_clip_tiny/tokenizer.json";
    let released = [
        r#"model.start.fresh.text_encoder={vocab_size=61,hidden_size=24,num_hidden_layers=1,num_attention_heads=3,intermediate_size=24,max_position_embeddings=512,type_vocab_size=2,layer_norm_eps=1e-12}"#,
        r#"model.start.fresh.variant.text_feature="m3d_clip""#,
        "model.start.fresh.variant.temperature=5.0",
    ];
    // A dataset whose questions were not made for it can't train it.
    dataset(folder, &[]);
    let said = run_to(2, &mut train(folder, "without", &released));
    assert!(said.err.contains("text.question_tokenizer"), "{}", said.err);

    fs::remove_dir_all(folder.join("dataset")).unwrap();
    dataset(folder, &[&format!("text.question_tokenizer={tokenizer:?}")]);
    let named = format!("model.text_tokenizer={tokenizer:?}");
    let more: Vec<&str> = released.iter().copied().chain([named.as_str()]).collect();
    run_to(0, &mut train(folder, "run", &more));
    assert!(folder.join("run/step-6/text_tokenizer.json").is_file());
    let mut command = program("med2e3");
    command.args(["generate", "--json", "--question", "Is the number even, or odd?", "--max-new-tokens", "4"]);
    command.args(["--beams", "2", "--device", "cpu", "--checkpoint"]).arg(folder.join("run"));
    command.arg("--volume").arg(folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz"));
    let reply: Value = serde_json::from_str(&run_to(0, &mut command).out).unwrap();
    assert_eq!(reply["scores"].as_array().unwrap().len(), 4);
}

/// A tiny Llama with a tokenizer, its weights in two files under an index, next to the released 3D encoder.
fn published(folder: &Path) -> [String; 6] {
    let encoder = format!("{RELEASED}/vision3d_model");
    let llm = folder.join("llm").display().to_string();
    ["--llm".into(), llm, "--vision3d".into(), encoder, "--variant".into(), "vision3d_only".into()]
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// A tokenizer of whole words with these tokens, the first three special.
fn words_tokenizer(tokens: &[(&str, usize)]) -> String {
    let added: Vec<Value> = tokens[..3]
        .iter()
        .map(|(content, id)| {
            serde_json::json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let vocab: serde_json::Map<String, Value> =
        tokens.iter().map(|(word, id)| (word.to_string(), (*id).into())).collect();
    serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}
    })
    .to_string()
}

#[test]
fn what_stands_next_to_weights_is_kept_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let llm = folder.join("llm");
    copy_folder(&Path::new("..").join(RELEASED).join("llm"), &llm);
    fs::write(llm.join("tokenizer.json"), words_tokenizer(&[("<unk>", 0), ("<s>", 1), ("</s>", 2), ("a", 3)])).unwrap();
    fs::write(llm.join("tokenizer_config.json"), r#"{"eos_token": "</s>", "chat_template": "{{ messages }}"}"#)
        .unwrap();
    fs::write(llm.join("generation_config.json"), r#"{"eos_token_id": [2, 17, 40], "temperature": 0.5}"#).unwrap();
    let (imported, exported) = (folder.join("imported"), folder.join("exported"));
    let parts = published(folder);
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    run_to(0, &mut import(&imported, &parts));
    assert!(fs::read_to_string(imported.join("med2e3.toml")).unwrap().contains("end = [2, 17, 40]"));
    let mut command = program("med2e3");
    run_to(0, command.args(["export", "--checkpoint"]).arg(&imported).arg("--out").arg(&exported));
    for file in ["llm/generation_config.json", "llm/config.json"] {
        assert_eq!(read_json(&exported.join(file))["eos_token_id"], serde_json::json!([2, 17, 40]), "{file}");
    }
    for at in ["", "llm/"] {
        let config = read_json(&exported.join(format!("{at}tokenizer_config.json")));
        assert_eq!(config["chat_template"], "{{ messages }}");
        assert_eq!(
            (&config["eos_token"], &config["tokenizer_class"]),
            (&"</s>".into(), &"PreTrainedTokenizerFast".into())
        );
        assert!(exported.join(format!("{at}tokenizer.json")).is_file());
    }

    // Where no file names an end, the tokenizer's own does.
    let mut config = read_json(&llm.join("config.json"));
    config["eos_token_id"] = Value::Null;
    fs::write(llm.join("config.json"), config.to_string()).unwrap();
    fs::remove_file(llm.join("generation_config.json")).unwrap();
    run_to(0, &mut import(&folder.join("without"), &parts));
    assert!(fs::read_to_string(folder.join("without/med2e3.toml")).unwrap().contains("end = [2]"));
}

#[test]
fn a_tokenizer_that_cannot_serve_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    copy_folder(&Path::new("..").join(RELEASED).join("llm"), &folder.join("llm"));
    let parts = published(folder);
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n";
    // The model has 61 rows.
    let large = words_tokenizer(&[("<unk>", 0), ("<s>", 1), ("</s>", 2), ("a", 61)]);
    for (text, said) in [(pointer, "git-lfs"), ("{}", "tokenizer.json"), (large.as_str(), "ids below 61")] {
        fs::write(folder.join("t.json"), text).unwrap();
        let tokenizer = folder.join("t.json").display().to_string();
        let more: Vec<&str> = parts.iter().map(String::as_str).chain(["--tokenizer", &tokenizer]).collect();
        let result = run_to(2, &mut import(&folder.join("out"), &more));
        assert!(result.err.contains(said) && result.err.contains("t.json"), "{}", result.err);
    }
    let largest = words_tokenizer(&[("<unk>", 0), ("<s>", 1), ("</s>", 2), ("a", 60)]);
    fs::write(folder.join("llm/tokenizer.json"), largest).unwrap();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    for file in ["llm/config.json", "llm/pytorch_model.bin"] {
        let whole = fs::read(folder.join(file)).unwrap();
        fs::write(folder.join(file), pointer).unwrap();
        let result = run_to(2, &mut import(&folder.join("out"), &parts));
        assert!(result.err.contains("git-lfs") && result.err.contains(file), "{}", result.err);
        fs::write(folder.join(file), whole).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["llm", "t.json"], "nothing is left");
    run_to(0, &mut import(&folder.join("out"), &parts));
}

#[test]
fn an_output_folder_may_be_a_link_or_the_current_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let released = fs::canonicalize(Path::new("..").join(RELEASED)).unwrap();
    let released = ["--released", released.to_str().unwrap()];
    fs::create_dir_all(folder.join("disk/real")).unwrap();
    std::os::unix::fs::symlink(folder.join("disk/real"), folder.join("link")).unwrap();
    run_to(0, &mut import(&folder.join("link"), &released));
    assert!(folder.join("link").is_symlink() && folder.join("disk/real/manifest.json").is_file());
    fs::create_dir(folder.join("here")).unwrap();
    run_to(0, import(Path::new("."), &released).current_dir(folder.join("here")));
    assert!(folder.join("here/manifest.json").is_file());
    let result = run_to(2, import(Path::new("."), &released).current_dir(folder.join("here")));
    assert!(result.err.contains("is not empty"), "{}", result.err);
}

#[test]
fn a_part_that_is_missing_or_of_another_kind_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let out = folder.join("out");
    let part = |name: &str| format!("{RELEASED}/{name}");
    let (llm, vision3d) = (part("llm"), part("vision3d_model"));
    let said = |more: &[&str]| run_to(2, &mut import(&out, more)).err;
    let nothing = said(&[]);
    assert!(nothing.contains("vision3d_model") || nothing.contains("vision2d_model"), "{nothing}");
    let empty = folder.join("empty");
    fs::create_dir(&empty).unwrap();
    let none = said(&["--released", empty.to_str().unwrap(), "--variant", "vision3d_only"]);
    assert!(none.contains(empty.to_str().unwrap()) && none.contains("vision3d_model"), "{none}");
    let other = said(&["--llm", &llm, "--vision3d", &llm, "--variant", "vision3d_only"]);
    assert!(other.contains("llm/config.json") && other.contains("m3d_clip"), "{other}");
    let other = said(&["--llm", &vision3d, "--vision3d", &vision3d, "--variant", "vision3d_only"]);
    assert!(other.contains("vision3d_model/config.json") && other.contains("phi3, llama, mistral or qwen2"), "{other}");
    let other = said(&["--llm", &llm, "--vision2d", &vision3d, "--vision3d", &vision3d, "--variant", "paper"]);
    assert!(other.contains("vision3d_model/config.json") && other.contains("siglip"), "{other}");
}
