"""Exports the small model of `trainer/tests/golden/released` with the program, loads the folder with `med2e3.model`, and compares
logits and slice scores with the reference that the program is verified against: python test_model.py [target/debug]."""

import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file

from med2e3.model import Med2e3

RELEASED = pathlib.Path(__file__).parents[2] / "trainer/tests/golden/released"


def test(programs):
    run = lambda *words: subprocess.run([f"{programs}/med2e3", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    expected = load_file(RELEASED / "reference.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        run("import", "--released", RELEASED, "--out", f"{folder}/imported")
        run("export", "--checkpoint", f"{folder}/imported", "--out", f"{folder}/exported")
        run("verify", "--checkpoint", f"{folder}/exported", "--reference", RELEASED / "reference.safetensors", "--device", "cpu")
        model = Med2e3.load(f"{folder}/exported")
        for row, length in enumerate(expected["input.mask"].sum(1).tolist()):
            ids = expected["input.ids"][row, :length].tolist()
            question = expected["input.question_ids"][row, : int(expected["input.question_mask"][row].sum())].tolist()
            volumes = expected["input.volume"][row : row + 1]
            logits = model.logits(volumes, ids, question)
            wanted = expected["expect.logits"][row][expected["expect.logits_mask"][row] != 0]
            off = (logits - wanted).abs().max().item() / max(1.0, wanted.abs().max().item())
            scores = model.embeddings(volumes, ids, question)[1][0]
            scores_off = (scores - expected["expect.scores"][row]).abs().max().item()
            print(f"row {row}: logits within {off:.1e}, scores within {scores_off:.1e}")
            assert off < 1e-4 and scores_off < 1e-4 and torch.isfinite(logits).all()


if __name__ == "__main__":
    test(sys.argv[1] if len(sys.argv) > 1 else "target/debug")
