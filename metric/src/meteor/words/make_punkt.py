"""Writes punkt.txt from what the crate `punkt` ships: make_punkt.py ENGLISH_JSON OUT

ENGLISH_JSON is src/data/english.json of https://crates.io/crates/punkt/1.0.5 (MIT or Apache-2.0, Ferris Tseng and the Rust
project's developers). Every list is sorted by bytes, for a binary search.
"""
import json, sys

HEAD = """\
# What Punkt learned of English: src/data/english.json of the crate punkt 1.0.5, as make_punkt.py writes it.
# Licence of the crate: MIT or Apache-2.0 (Copyright 2016 The Rust Project Developers; author Ferris Tseng).
"""
learned = json.load(open(sys.argv[1], encoding="utf8"))
order = lambda lines: sorted(lines, key=lambda line: [word.encode() for word in line.split("\t")[1:]])
with open(sys.argv[2], "w", encoding="utf8", newline="\n") as out:
    out.write(HEAD)
    for kind, lines in (
        ("abbreviations", [f"abbreviation\t{word}" for word in learned["abbrev_types"]]),
        ("collocations", [f"collocation\t{first}\t{second}" for first, second in learned["collocations"]]),
        ("starters", [f"starter\t{word}" for word in learned["sentence_starters"]]),
        ("contexts", [f"{bits}\t{word}" for word, bits in learned["ortho_context"].items()]),
    ):
        out.writelines(line + "\n" for line in order(lines))
