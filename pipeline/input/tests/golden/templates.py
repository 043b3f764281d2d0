"""A small tokenizer of Phi-3's kind, and what transformers makes of conversations with it.

Run in this folder; writes templates.tokenizer.json and templates.jsonl. A line holds a template's name, the turns, the ids
that apply_chat_template gives for the whole text (-201 for <image3d>), and its assistant mask as half-open spans. With
the folder of a published Phi-3 tokenizer as the argument, writes the same files for that one.
"""
import json
import sys

import tokenizers
import transformers
from tokenizers import AddedToken, decoders, models, normalizers, trainers
from transformers import PreTrainedTokenizerFast

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the user's questions."
)
CONVERSATIONS = [
    [["<image3d>\nWhich plane is shown?", "Axial."]],
    [["<image3d>\nIs there  free fluid? ", " No,\nnone is seen."], ["And the liver?", "Normal: 12 cm \u00d7 7."]],
    [["<image3d><image3d>\nWhat changed between the scans?", "A lesion\u00a0grew."]],
    [["<image3d>\nFirst scan?", "Axial."], ["Compare with <image3d> please.", "Larger."], ["Sure?", "Yes."]],
    [["What is a CT scan?", "\u809d X-ray slices \U0001f600"]],
]
# Each template in Jinja; targets are in generation blocks. The second is the template of Phi-3 with such blocks.
TEMPLATES = {
    "phi": "{{ '" + SYSTEM.replace("'", "\\'") + " ' }}{% for m in messages %}{% if m.role == 'user' %}"
    "{{ 'USER: ' + m.content + ' ASSISTANT:' }}{% else %}{% generation %}{{ ' ' + m.content + '<|endoftext|>' }}"
    "{% endgeneration %}{% endif %}{% endfor %}",
    "phi3_chat": "{% for m in messages %}{% if m.role == 'user' %}{{ '<|user|>\n' + m.content + '<|end|>\n' }}{% else %}"
    "{{ '<|assistant|>\n' }}{% if loop.last %}{% generation %}{{ m.content + '<|end|>\n' + eos_token }}"
    "{% endgeneration %}{% else %}{% generation %}{{ m.content + '<|end|>' }}{% endgeneration %}{{ '\n' }}{% endif %}"
    "{% endif %}{% endfor %}",
    "m3d": "{% for m in messages %}{% if m.role == 'user' %}{{ '' if loop.first else ' ' }}{{ m.content }}{% else %}"
    "{% generation %}{{ ' ' + m.content }}{{ eos_token if loop.last else '' }}{% endgeneration %}{% endif %}{% endfor %}",
    "pretrain_vision3d": "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% else %}{% generation %}"
    "{{ m.content }}{% endgeneration %}{% endif %}{% endfor %}",
}


def small():
    """BPE with byte fallback, the space as U+2581, and marks that take the white space after them."""
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    # Training splits at spaces only through a pre-tokenizer; it is taken off again below, as Phi-3 has none.
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    texts = [SYSTEM] + [text for turns in CONVERSATIONS for turn in turns for text in turn if text.isascii()]
    trainer = trainers.BpeTrainer(vocab_size=420, min_frequency=2, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator([text.replace("<image3d>", "").replace("\n", " ") for text in texts], trainer)
    model = json.loads(tokenizer.to_str())
    model["pre_tokenizer"] = None
    # The byte tokens belong to the model, they are no marks.
    model["added_tokens"] = model["added_tokens"][:3]
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(model))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    marks = ["<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    tokenizer.add_special_tokens([AddedToken(mark, rstrip=True, normalized=False) for mark in marks])
    return tokenizer


def content(name, text):
    """A turn's text as the template's data writes it."""
    images = text.count("<image3d>")
    if name == "m3d":
        words = text.replace("<image3d>", "")
        gap = " " if words[:1].isspace() else ""
        return "<image3d>" * images + gap + words.strip()
    return text.strip()


def spans(mask):
    edges = [i for i in range(1, len(mask)) if mask[i] != mask[i - 1]]
    edges = ([0] if mask[0] else []) + edges + ([len(mask)] if mask[-1] else [])
    return [list(pair) for pair in zip(edges[::2], edges[1::2])]


if len(sys.argv) > 1:
    base = tokenizers.Tokenizer.from_file(f"{sys.argv[1]}/tokenizer.json")
    own = json.load(open(f"{sys.argv[1]}/tokenizer_config.json"))["chat_template"]
else:
    base, own = small(), None
with open("templates.tokenizer.json", "w") as file:
    file.write(json.dumps(json.loads(base.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
fast = PreTrainedTokenizerFast(tokenizer_object=base, eos_token="<|endoftext|>", unk_token="<unk>")
fast.add_tokens([AddedToken("<image3d>", normalized=False, special=True)])
image = fast.convert_tokens_to_ids("<image3d>")
lines = [json.dumps({"transformers": transformers.__version__, "tokenizers": tokenizers.__version__})]
for name, template in TEMPLATES.items():
    for turns in CONVERSATIONS:
        if name == "pretrain_vision3d" and (len(turns) > 1 or "<image3d>" not in turns[0][0]):
            continue
        messages = []
        for question, answer in turns:
            asked = "<image3d>" * question.count("<image3d>") if name == "pretrain_vision3d" else content(name, question)
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer.strip()}]
        encoded = fast.apply_chat_template(
            messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
        )
        if name == "phi3_chat" and own:
            whole = fast.apply_chat_template(messages, chat_template=own, tokenize=True, return_dict=True)
            assert whole["input_ids"] == encoded["input_ids"]
        if name == "m3d" and len(turns) == 1:
            # M3D's own way to the labels: as many as the question alone has tokens are not learned.
            alone = fast(messages[0]["content"], add_special_tokens=False)["input_ids"]
            assert spans(encoded["assistant_masks"])[0][0] == len(alone)
        ids = [-201 if i == image else i for i in encoded["input_ids"]]
        lines.append(
            json.dumps({"template": name, "turns": turns, "ids": ids, "spans": spans(encoded["assistant_masks"])})
        )
with open("templates.jsonl", "w") as file:
    file.write("\n".join(lines) + "\n")
