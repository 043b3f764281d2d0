"""BERTScore by bert_score 0.3.13 itself, with a tiny RoBERTa and a tiny BERT of random weights, which this script makes too.

`python trainer/tests/golden/bertscore.py` with torch 2.11, transformers 4.57.3 (bert_score does not run with 5) and bert_score 0.3.13 writes
`roberta_tiny/` (vocab.json and merges.txt, the names of a model with a head), `bert_tiny/` (tokenizer.json, the bare names) and
`bertscore.json`. Each pair is scored by itself: in a batch bert_score compares with padding, whose similarity it takes for 0.
Tokenizers are trained with ties broken by chance: what this writes belongs together.
"""

import importlib.metadata
import json
import pathlib

from bert_score import BERTScorer
from tokenizers import BertWordPieceTokenizer, ByteLevelBPETokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast, RobertaConfig, RobertaForMaskedLM, RobertaTokenizer

from common import randomize

HERE = pathlib.Path(__file__).resolve().parent
PAIRS = [
    ("The liver is enlarged.", "The liver is enlarged."),
    ("The liver is enlarged.", "The spleen is enlarged with a low density lesion."),
    ("There is a small pleural effusion on the left side.", "A small left pleural effusion is seen."),
    ("No abnormality is found.", "Multiple nodules are seen in both lungs, the largest 12 mm."),
    ("Yes", "No"),
    ("yes", "Yes"),
    ("left", "The left kidney."),
    ("  Kidney stones are seen.\n", "Kidney stones are seen."),
    ("Portal  venous\tphase", "Portal venous phase"),
    ("The patient's gallbladder wasn't seen; it's been removed, they'll follow.", "Status after cholecystectomy."),
    ("", "The liver is enlarged."),
    ("The liver is enlarged.", " \n"),
    ("", ""),
    ("Größe 3,5 × 2,1 cm, Dämpfung −40 HU (Fett).", "Size 3.5 x 2.1 cm, attenuation -40 HU (fat)."),
    ("肝脏增大，密度均匀。", "肝脏密度均匀。"),
    ("Mass 🫁 in the lung\u200b", "Mass in the lung"),
    ("a" * 90, "The liver"),
    (" ".join(["The liver is enlarged and the spleen is small."] * 12), "The liver is enlarged and the spleen is small."),
    (". , ; : !", "..."),
    ("The </s> liver <s> is large", "The liver is large"),
    ("A <mask> lesion", "A lesion"),
    ("12345 mm 6789", "12345 mm"),
    ("CT shows CT shows CT", "CT shows"),
    ("The liver is enlarged.", "the LIVER is ENLARGED"),
]
BASELINE = [0.31, 0.42, 0.37]


def make_roberta(folder, texts):
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(texts, vocab_size=420, min_frequency=2, special_tokens=special)
    tokenizer.save_model(str(folder))
    slow = RobertaTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=64)
    slow.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=66,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    save(RobertaForMaskedLM(config), folder, 3)


def make_bert(folder, texts):
    tokenizer = BertWordPieceTokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=200, min_frequency=2)
    tokenizer.save_model(str(folder))
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=40).save_pretrained(folder)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=48,
    )
    save(BertModel(config, add_pooling_layer=False), folder, 4)


def save(model, folder, seed):
    randomize(model.eval(), seed, 0.3)
    model.save_pretrained(folder)


def values(folder, layer, baseline):
    path = None
    if baseline:
        rows = ["LAYER,P,R,F", *(",".join(map(str, [row, *BASELINE])) for row in range(layer + 1))]
        path = HERE / "baseline.tsv"
        path.write_text("\n".join(rows))
    scorer = BERTScorer(
        model_type=str(folder), num_layers=layer, device="cpu", lang="en", rescale_with_baseline=baseline,
        baseline_path=None if path is None else str(path),
    )
    rows = [[float(value) for value in scorer.score([prediction], [reference])] for prediction, reference in PAIRS]
    if path:
        path.unlink()
    return rows


if __name__ == "__main__":
    assert importlib.metadata.version("bert_score") == "0.3.13"
    texts = [text for pair in PAIRS for text in pair]
    cases = []
    for name, make, layers in [("roberta_tiny", make_roberta, [0, 2, 3]), ("bert_tiny", make_bert, [1, 2])]:
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        make(folder, texts)
        for unused in ["special_tokens_map.json", "added_tokens.json"]:
            (folder / unused).unlink(missing_ok=True)
        for layer in layers:
            for baseline in [False, True] if layer == 2 else [False]:
                rows = values(folder, layer, baseline)
                cases.append({"model": name, "layer": layer, "baseline": BASELINE if baseline else None, "values": rows})
        # The tests have BERT's tokenizer.json, bert_score the vocabulary.
        (folder / "vocab.txt").unlink(missing_ok=True)
    golden = json.dumps({"pairs": PAIRS, "cases": cases}, ensure_ascii=False, indent=0)
    (HERE / "bertscore.json").write_text(golden + "\n")
