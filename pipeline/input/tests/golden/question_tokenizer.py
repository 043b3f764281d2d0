"""A small WordPiece tokenizer of BERT's kind, and what transformers' tokenizer makes of questions with it.

Run in this folder; writes question_tokenizer.json and question_tokenizer.txt (a line: the question as a JSON string, then
its ids with [CLS] and [SEP], cut at 512; of a long one the number of ids and the last three).
"""
import json

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

words = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] what which is the in this plane phase organ of image show ##n ##s liver spleen hepato "
    "##spleno ##megaly ##al axi no yes ? : . , a b c d choices 1 2 ##2 cm"
).split()
tokenizer = tokenizers.Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.decoder = decoders.WordPiece()
tokenizer.post_processor = processors.TemplateProcessing(
    single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words.index("[CLS]")), ("[SEP]", words.index("[SEP]"))]
)
# What a file may ask for and a reader of single questions does without.
tokenizer.enable_padding(length=16, pad_token="[PAD]", pad_id=0)
tokenizer.enable_truncation(8)
with open("question_tokenizer.json", "w") as file:
    file.write(json.dumps(json.loads(tokenizer.to_str()), separators=(",", ":")) + "\n")

tokenizer.no_padding()
fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]", pad_token="[PAD]")
lines = [f"# transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"]
questions = [
    "Which plane is shown?",
    "What is the phase of THIS image? Choices: A. Axial B. no C. yes D. nan",
    "hepatosplenomegaly, l\u00edver\t12 cm \u809d",
    "",
    "the liver " * 260,
]
for question in questions:
    ids = fast(question, truncation=True, max_length=512, padding=False)["input_ids"]
    shown = [len(ids)] + ids[-3:] if len(ids) > 100 else ids
    lines.append(f"{json.dumps(question)} | {','.join(str(i) for i in shown)}")
with open("question_tokenizer.txt", "w") as file:
    file.write("\n".join(lines) + "\n")
