"""A tiny BertModel of transformers in training mode, its dropout replaced by masks that are a function of a key.

Word n of splitmix64 (Steele, Lea and Flood 2014) from a place's key decides about number n of a text at that place; the place's key is
word `place` from the text's key. Places are counted in the order in which transformers calls dropout. Numbers are counted over hidden
states as position * width + feature, over attention probabilities as (head * longest + query) * longest + key.
"""

import torch
from transformers import BertConfig, BertModel

from bert import CONFIG, IDS, MASK
from common import prefixed, randomize, write

KEYS = [1, 2**63 + 7, 2**64 - 1]
PROBABILITY = 0.3
LONGEST = CONFIG["max_position_embeddings"]
ALL = 2**64


def splitmix64(key, counter):
    word = (key + (counter + 1) * 0x9E3779B97F4A7C15) % ALL
    for shift, factor in [(30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)]:
        word = ((word ^ (word >> shift)) * factor) % ALL
    return word ^ (word >> 31)


def counter(index):
    if len(index) == 2:
        return index[0] * CONFIG["hidden_size"] + index[1]
    head, query, key = index
    return (head * LONGEST + query) * LONGEST + key


class Dropout:
    """Stands for torch.nn.functional.dropout."""

    def __init__(self, keys):
        self.keys, self.place = keys, 0

    def __call__(self, values, p=0.5, training=True, inplace=False):
        assert p == PROBABILITY and training
        kept = torch.ones_like(values)
        threshold = int(p * ALL)
        for text, key in enumerate(self.keys):
            place_key = splitmix64(key, self.place)
            for index in torch.cartesian_prod(*[torch.arange(n) for n in values.shape[1:]]).tolist():
                # A word with its first bit turned over, so that words with a sign compare in the same way.
                word = splitmix64(place_key, counter(index)) ^ 2**63
                kept[(text, *index)] = float(word >= threshold)
        self.place += 1
        return values * kept / (1 - p)


if __name__ == "__main__":
    config = BertConfig(
        **CONFIG,
        attn_implementation="eager",
        hidden_dropout_prob=PROBABILITY,
        attention_probs_dropout_prob=PROBABILITY,
    )
    model = BertModel(config).train()
    randomize(model, seed=21)
    ids, mask = torch.tensor(IDS), torch.tensor(MASK)
    dropout = Dropout(KEYS)
    torch.nn.functional.dropout = dropout
    found = model(ids, attention_mask=mask)
    # The embeddings, and three places in each block.
    assert dropout.place == 1 + 3 * CONFIG["num_hidden_layers"]
    direction = torch.randn(found.pooler_output.shape, generator=torch.Generator().manual_seed(3))
    (found.pooler_output * direction).sum().backward()
    kept = mask.bool()
    tensors = {
        "ids": ids,
        "mask": kept,
        "keys": torch.tensor([key - ALL if key >= 2**63 else key for key in KEYS]),
        "hidden": found.last_hidden_state * kept[:, :, None],
        "pooled": found.pooler_output,
        "direction": direction,
    }
    state = {f"language_encoder.{name}": tensor for name, tensor in model.state_dict().items()}
    grads = {f"language_encoder.{name}": tensor.grad for name, tensor in model.named_parameters()}
    tensors |= prefixed("weights", state) | prefixed("grads", grads)
    write(__file__, tensors, config=CONFIG, probability=PROBABILITY)
