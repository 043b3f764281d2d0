"""The digests of tests.rs over every single word of WordNet, by the NLTK that is importable and finds its data:

    lexicon.py WORDNET

One line a word, sorted by code points: the word, a tab, and its stems in three modes, or the names among which METEOR looks
for synonyms.
"""
import hashlib, sys
from pathlib import Path

import nltk
from nltk.corpus import wordnet
from nltk.stem.porter import PorterStemmer

SUFFIXES = "s es ed ing er est ly ational fulness iveness".split()
words = set()
for name in ("noun", "verb", "adj", "adv"):
    for file in (f"index.{name}", f"{name}.exc"):
        lines = (Path(sys.argv[1]) / file).read_text().splitlines()
        words.update(line.split()[0] for line in lines if not line.startswith(" "))
words = sorted(word for word in words if "_" not in word)
words = sorted({*words, *(word + suffix for word in words[::7] for suffix in SUFFIXES)})
modes = [PorterStemmer(mode) for mode in ("NLTK_EXTENSIONS", "MARTIN_EXTENSIONS", "ORIGINAL_ALGORITHM")]


def names(word):
    return sorted({lemma.name() for synset in wordnet.synsets(word) for lemma in synset.lemmas() if "_" not in lemma.name()})


def digest(lines):
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


print(nltk.__version__, len(words), "words")
print("stems   ", digest("\t".join([word, *(mode.stem(word) for mode in modes)]) for word in words))
print("synonyms", digest(f"{word}\t{' '.join(names(word))}" for word in words))
