//! `med2e3 explain` from the outside: which questions it takes, what it writes, and one's own CT without a dataset.

use std::fs;
use std::path::Path;
use std::process::Command;

use med2e3_tests::program::{program, run_to};
use med2e3_tests::tiny::{dataset, evaluate, train};
use serde_json::Value;

/// `med2e3 explain` of the run on the dataset, both in `folder`.
fn explain(folder: &Path, out: &str, more: &[&str]) -> Command {
    let path = |name: &str| format!("{:?}", folder.join(name).display().to_string());
    let mut command = program("med2e3");
    command.args(["explain", "configs/demo/explain.toml", "--json", "--out"]).arg(folder.join(out));
    let sets = [format!("dataset={}", path("dataset")), format!("checkpoint={}", path("run"))];
    for set in sets.iter().map(String::as_str).chain(["device=cpu", "threads=1", "max_new_tokens=4"]) {
        command.args(["--set", set]);
    }
    command.args(more);
    command
}

fn report(command: &mut Command) -> Value {
    serde_json::from_str(&run_to(0, command).out).unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn numbers(value: &Value) -> Vec<f64> {
    list(value).iter().map(|number| number.as_f64().unwrap()).collect()
}

fn words<'a>(report: &'a Value, key: &str) -> Vec<&'a str> {
    list(&report["explanations"]).iter().map(|one| one["answer"][key].as_str().unwrap()).collect()
}

#[test]
fn questions_are_chosen_measured_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &[]));
    run_to(0, &mut evaluate(folder, "run", "dataset", "evaluated", &[]));

    let all = report(&mut explain(folder, "all", &["--set", "attention=\"last\""]));
    let explanations = list(&all["explanations"]);
    assert_eq!(explanations.len(), 6);
    for one in explanations {
        let (scores, focus) = (numbers(&one["answer"]["scores"]), &one["focus"]);
        for (score, times) in scores.iter().zip(numbers(&focus["times_even"])) {
            assert!((score * 4.0 - times).abs() < 1e-6);
        }
        let highest = scores.iter().copied().fold(0.0, f64::max);
        assert_eq!(scores[focus["peak"].as_u64().unwrap() as usize], highest);
        let effective = focus["effective_slices"].as_f64().unwrap();
        assert!((1.0..=4.0 + 1e-9).contains(&effective) && (focus["highest_5"].as_f64().unwrap() - 1.0).abs() < 1e-6);
        // Four slices: one and two may be deleted.
        let steps = list(&one["deletion"]["steps"]);
        assert_eq!(steps.iter().map(|step| step["slices"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
        assert!(one["deletion"]["own"].as_f64().unwrap() < 0.0 && steps[0]["best"].as_f64().unwrap() < 0.0);
        let map = &one["attention"];
        assert_eq!((&map["layer"], &map["slice"]), (&Value::from(1), &focus["peak"]));
        let weights = numbers(&map["weights"]);
        assert_eq!(numbers(&map["grid_dhw"]).iter().product::<f64>(), weights.len() as f64);
        let shares = ["tokens3d", "tokens2d", "rest"].map(|part| map[part].as_f64().unwrap());
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{shares:?}");
        assert!((weights.iter().sum::<f64>() - shares[0]).abs() < 1e-9);
        let picture = image::open(folder.join("all").join(map["picture"].as_str().unwrap())).unwrap();
        assert_eq!((picture.width(), picture.height()), (16, 16));
        let sheet = image::open(folder.join("all").join(one["sheet"].as_str().unwrap())).unwrap();
        assert_eq!((sheet.width(), sheet.height(), sheet.color()), (64, 16, image::ColorType::L8));
    }
    let deletion = list(&all["deletion"]);
    assert_eq!(deletion.len(), 2);
    for score in deletion {
        let of = |key: &str| score[key].as_f64().unwrap();
        assert!((of("best") - of("random") - of("difference")).abs() < 1e-12 && score["count"] == 6, "{score}");
    }
    let csv = fs::read_to_string(folder.join("all/scores.csv")).unwrap();
    let header = csv.lines().next().unwrap();
    assert!(
        header.starts_with("sample_id,volume_id,task,topic,question,expected,answer,effective_slices,peak,highest_5,")
    );
    assert!(header.ends_with("times_even_3,slice_0,slice_1,slice_2,slice_3"), "{header}");

    // The same draws again; none where none are asked for.
    let again = report(&mut explain(folder, "again", &[]));
    assert_eq!(again["deletion"], all["deletion"]);
    let without = report(&mut explain(folder, "without", &["--set", "deletion_draws=0", "--set", "volumes=1"]));
    assert!(without.get("deletion").is_none() && list(&without["explanations"])[0].get("deletion").is_none());

    let (volume, sample) = (words(&all, "volume_id")[0], words(&all, "sample_id")[2]);
    let of_volume = report(&mut explain(folder, "volume", &["--volume", volume]));
    assert!(words(&of_volume, "volume_id").iter().all(|id| *id == volume) && !words(&of_volume, "task").is_empty());
    let of_sample = report(&mut explain(folder, "sample", &["--sample", sample]));
    assert_eq!(words(&of_sample, "sample_id"), [sample]);
    let evaluated = folder.join("evaluated").display().to_string();
    let of_wrong = report(&mut explain(folder, "wrong", &["--wrong", &evaluated]));
    let answers: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("evaluated/report.json")).unwrap()).unwrap();
    let is_wrong = |answer: &&Value| {
        let main = if answer["task"] == "closed_vqa" { "correct" } else { "rouge1" };
        answer["metrics"][main] == 0.0
    };
    let mut expected: Vec<&str> =
        list(&answers["answers"]).iter().filter(is_wrong).map(|answer| answer["sample_id"].as_str().unwrap()).collect();
    let mut found = words(&of_wrong, "sample_id");
    expected.sort_unstable();
    found.sort_unstable();
    assert!(!found.is_empty() && found == expected, "{found:?} {expected:?}");

    // A closed answer has the likelihood of its letters.
    let closed: Vec<&Value> = list(&answers["answers"]).iter().filter(|one| one["task"] == "closed_vqa").collect();
    assert!(!closed.is_empty() && closed.iter().all(|one| one["metrics"]["likelihood"].is_number()), "{closed:?}");

    for (more, said) in [
        (
            vec!["--volume", "00000000000000000000000000000000"],
            "chosen.volumes: expected ids of volumes with questions in",
        ),
        (vec!["--sample", sample, "--sample", sample], "chosen.samples: expected each id once"),
        (vec!["--sample", "x"], "ids of 32 hex digits, found `x`"),
        (vec!["--subset", "nothing"], "nothing"),
        (vec!["--wrong", "nowhere"], "nowhere"),
        (vec!["--set", "attention=9"], "attention: expected \"last\", or a block from 0 to 1, found 9"),
    ] {
        let err = run_to(2, &mut explain(folder, "refused", &more)).err;
        assert!(err.contains(said), "{more:?}: {err}");
        assert!(!folder.join("refused").exists(), "{more:?}");
    }
}

#[test]
fn a_ct_on_disk_is_explained_without_a_dataset() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    dataset(folder, &[]);
    run_to(0, &mut train(folder, "run", &[]));
    let volume = folder.join("study/M3D_Cap/ct_case/000001/Series_1.nii.gz");
    let own = |picture: &str| {
        let mut command = program("med2e3");
        command.args(["explain", "--json", "--question", "Is the number even, or odd?", "--max-new-tokens", "4"]);
        command.args(["--device", "cpu", "--checkpoint"]).arg(folder.join("run"));
        command.arg("--volume").arg(&volume).arg("--picture").arg(folder.join(picture));
        command
    };
    let found = report(&mut own("own.svg"));
    let slices = list(&found["slices"]);
    assert_eq!((slices.len(), list(&found["scores"]).len()), (4, 4));
    // Seven slices of 2 mm, four of the result: 7/4 of them each.
    let numbers: Vec<i64> = slices.iter().map(|slice| slice["source_slice"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [0, 2, 4, 6]);
    let picture = fs::read_to_string(folder.join("own.svg")).unwrap();
    for said in ["<svg xmlns", "Is the number even, or odd?", "data:image/jpeg;base64,", "of the source"] {
        assert!(picture.contains(said), "{said}");
    }
    let err = run_to(2, &mut own("own.png")).err;
    assert!(err.contains("--picture: expected a name that ends in .svg, found png"), "{err}");
    let err = run_to(2, program("med2e3").args(["explain", "--question", "?"])).err;
    assert!(err.contains("--picture") && err.contains("--checkpoint"), "{err}");
}
