//! From one's own texts to a model: a language model and a 2D encoder as transformers writes them, a dataset tokenized with the same
//! `tokenizer.json`, then training and evaluation.

use std::fs;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::{own, python};
use serde_json::Value;

/// The 3D encoder; transformers has none of its kind.
const VISION3D: &str = "trainer/tests/golden/released/vision3d_model";

/// Writes `llm` and `siglip` below the folder, with a tokenizer of the texts in a file.
const MAKE_PARTS: &str = r#"
import pathlib, sys, torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast, SiglipVisionConfig, SiglipVisionModel

folder, texts = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
torch.manual_seed(1)
tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
special = ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"]
alphabet = pre_tokenizers.ByteLevel.alphabet()
trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
tokenizer.train_from_iterator(texts.read_text("latin1").splitlines(), trainer)
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|endoftext|>")
size = len(fast)
llm = Phi3Config(vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=4, max_position_embeddings=1024, original_max_position_embeddings=1024,
                 bos_token_id=0, eos_token_id=fast.eos_token_id, pad_token_id=0)
Phi3ForCausalLM(llm).save_pretrained(folder / "llm")
fast.save_pretrained(folder / "llm")
siglip = SiglipVisionConfig(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=8)
SiglipVisionModel(siglip).save_pretrained(folder / "siglip")
print(size)
"#;

fn data(verb: &str) -> Command {
    let mut command = program("med2e3-data");
    command.arg(verb);
    command
}

#[test]
fn own_texts_train_a_model_of_weights_that_transformers_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let root = folder.join("hospital");
    own::write(&root);
    python::run(MAKE_PARTS, &[folder, &root.join("befunde.csv")]);
    let tokenizer = folder.join("llm/tokenizer.json");

    // import and prepare take the same file, whatever each of them stores of it.
    let mut import = program("med2e3");
    import.args(["import", "--variant", "paper", "--vision3d", VISION3D, "--llm"]).arg(folder.join("llm"));
    run_to(0, import.arg("--vision2d").arg(folder.join("siglip")).arg("--out").arg(folder.join("start")));
    let text = format!("root = {:?}\n{}", root.display().to_string(), own::CONFIGURATION);
    fs::write(folder.join("own.toml"), text).unwrap();
    let mut prepare = data("prepare");
    prepare.arg(folder.join("own.toml")).arg("--tokenizer").arg(&tokenizer).arg("--out").arg(folder.join("dataset"));
    for set in ["volume.shape=[8,16,16]", "text.template=phi3_chat", "text.length=640", "text.visual_tokens=12"] {
        prepare.args(["--set", set]);
    }
    run_to(1, &mut prepare);
    let stored = fs::read(folder.join("dataset/tokenizer.json")).unwrap();
    assert!(stored == fs::read(&tokenizer).unwrap(), "a tokenizer that is given is stored byte for byte");
    run_to(
        0,
        data("resplit").arg(folder.join("dataset")).args(["--name", "own", "--validation", "0.2", "--test", "0.2"]),
    );

    let mut train = program("med2e3");
    train.args(["train", "configs/train/med2e3-lora.toml", "--json", "--out"]).arg(folder.join("run"));
    let dataset = format!("data.dataset={:?}", folder.join("dataset").display().to_string());
    let start = format!("model.start={{checkpoint={:?}}}", folder.join("start").display().to_string());
    for set in [
        dataset.as_str(),
        &start,
        "data.subset=own",
        "device=cpu",
        "threads=1",
        "checkpoint.every_steps=4",
        "data.max_steps=4",
        "step.batch=2",
        "step.loss_group=all",
        "data.readers=1",
        r#"model.lora={rank=2,alpha=4.0,dropout=0.0,targets=["all-linear"]}"#,
    ] {
        train.args(["--set", set]);
    }
    let report: Value = serde_json::from_str(&run_to(0, &mut train).out).unwrap();
    let losses: Vec<f64> =
        report["steps"].as_array().unwrap().iter().map(|step| step["loss"].as_f64().unwrap()).collect();
    assert_eq!(losses.len(), 4);
    assert!(losses.iter().all(|loss| loss.is_finite() && *loss > 0.0), "{losses:?}");

    let mut evaluate = program("med2e3");
    evaluate.args(["evaluate", "configs/evaluate/m3d.toml", "--json", "--out"]).arg(folder.join("answers"));
    let checkpoint = format!("checkpoint={:?}", folder.join("run").display().to_string());
    let dataset = dataset.trim_start_matches("data.");
    for set in [dataset, &checkpoint, "subset=own", "device=cpu", "threads=1", "max_new_tokens=4"] {
        evaluate.args(["--set", set]);
    }
    let report: Value = serde_json::from_str(&run_to(0, &mut evaluate).out).unwrap();
    assert!(
        !report["answers"].as_array().unwrap().is_empty() && report["scores"].to_string().contains("bleu"),
        "{report}"
    );
}
