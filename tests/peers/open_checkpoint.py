"""Loads a checkpoint's parts with transformers, strictly: no key missing, none unexpected, none of another shape.

usage: open_checkpoint.py FOLDER [--ids 1,5,9]

FOLDER is what `med2e3 import`, `export` or `train` writes. With --ids the language model's greedy answer of 32 tokens is
printed, to be compared with that of another program.
"""

import argparse
import pathlib

import torch
from transformers import AutoModelForCausalLM, SiglipVisionModel

parser = argparse.ArgumentParser()
parser.add_argument("folder", type=pathlib.Path)
parser.add_argument("--ids", help="prompt of the language model, comma between ids")
arguments = parser.parse_args()


def load(kind, part):
    model, info = kind.from_pretrained(arguments.folder / part, output_loading_info=True)
    count = sum(parameter.numel() for parameter in model.parameters())
    problems = {key: value for key, value in info.items() if value}
    print(f"{part}: {type(model).__name__}, {count} parameters, {problems or 'every key accounted for'}")
    assert not problems, problems
    return model.eval()


llm = load(AutoModelForCausalLM, "llm")
if (arguments.folder / "vision2d_model").is_dir():
    load(SiglipVisionModel, "vision2d_model")
if arguments.ids:
    ids = torch.tensor([[int(number) for number in arguments.ids.split(",")]])
    answer = llm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=32, do_sample=False, eos_token_id=None)
    print("greedy", answer[0, ids.shape[1] :].tolist())
