"""Random JSON files as Python's json module reads them row by row, sound and with one damaged row.

Run in this folder with Python 3; writes json_rows.jsonl. A line is a file's bytes in Latin-1, its layout, and its rows: for
each the value (NaN as null), or null where the row is to be set aside, or the row's field whose text is damaged.
"""
import json
import math
import platform
import random

draw = random.Random(5)
TEXTS = [
    "plain", "a, b: {c} [d]", 'say "yes", {"id": "x"}', "back\\slash", "line\nbreak", "\u809d \u00e9", "\U0001f600", "tab\t", "", "}", "]", ",", '{"image"',
    "</s> <|end|>", "\u2028", "\x7f", "\ufeffmark",
]


def words():
    return draw.choice(TEXTS) + draw.choice(["", " ", "x"])


def row(n):
    turns = []
    for _ in range(draw.randint(1, 2)):
        turns += [{"from": "human", "value": words()}, {"from": "gpt", "value": words()}]
    made = {"id": n, "conversations": turns, "vision3d": [f"a/{n}.npy"] * draw.randint(0, 2), "question_type": draw.choice([1, 2.0, None, "3"])}
    if draw.random() < 0.3:
        made["more"] = draw.choice([True, {"id": 1, "a": [1, [2, {}], []]}, -1.5e-7, [], 12345678901234567890123, {"x": [{"k": 2}, {"k": 3}]}])
    return made


def plain(value):
    """NaN as null, infinite numbers and great ones as the reader has them."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        return math.copysign(1.7976931348623157e308, value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**64:
        return float(value)
    return value


def is_json(raw):
    try:
        json.loads(raw.decode())
        return True
    except ValueError:
        return False


def nan(raw):
    return raw.replace(b'"question_type":', b'"q": %s, "question_type":' % draw.choice([b"NaN", b"Infinity", b"-Infinity", b"1e999"]))


def question_type(raw):
    return raw.replace(b'"question_type":', b'"question_type": NaN, "was":')


def surrogate(raw):
    half = draw.choice([rb"\ud83d", rb"\ude00", rb"\ude00\ud83d", rb"\ud83dx", rb"\ud83d\u0041"])
    return raw.replace(b'"value": "', b'"value": "' + half, 1)


def elsewhere(raw):
    return raw.replace(b'"question_type":', rb'"name": "\ud83d", "question_type":')


def latin1(raw):
    return raw.replace(b'"value": "', b'"value": "l\xe9sion ', 1)


def no_brace(raw):
    return raw[:-1]


def no_quote(raw):
    return raw.replace(b'"value": "', b'"value": ', 1)


def no_end_quote(raw):
    at = raw.index(b'"', raw.index(b'"from": "') + 9)
    return raw[:at] + raw[at + 1 :]


def inner_quotes(raw):
    return raw.replace(b'"value": "', b'"value": "a "big" mass ', 1)


def line_break(raw):
    return raw.replace(b'"value": "', b'"value": "a\nb', 1)


def comma(raw):
    return raw[:-1] + b",}"


def word(raw):
    return raw.replace(b'"question_type":', b'"q": nan, "question_type":')


def escape(raw):
    return raw.replace(b'"value": "', rb'"value": "\x41', 1)


HARMLESS, MARKED = [nan, question_type], [surrogate, latin1, elsewhere]
BROKEN = [no_brace, no_quote, no_end_quote, inner_quotes, line_break, comma, word, escape]


def write(rows, layout):
    if layout == "lines":
        return b"\n".join(rows) + draw.choice([b"", b"\n", b"\r\n\n"])
    between = draw.choice([b", ", b",\n", b",\r\n  ", b"\n,"])
    return b"[" + draw.choice([b"", b"\n"]) + between.join(rows) + draw.choice([b"]", b"\n]\n", b",]"])


lines = [json.dumps({"python": platform.python_version()})]
for damage in [None, *HARMLESS, *MARKED, *BROKEN, "cut"]:
    for n in range(16):
        layout = ["list", "lines"][n % 2]
        indent = draw.choice([None, 2]) if layout == "list" else None
        rows = [row(i) for i in range(draw.randint(2, 6))]
        raw = [json.dumps(r, ensure_ascii=draw.random() < 0.5, indent=indent).encode() for r in rows]
        k = draw.randrange(len(rows))
        expected = [{"value": plain(r)} for r in rows]
        if damage == "cut":
            k = len(rows) - 1
            raw[k] = raw[k][: draw.randrange(1, len(raw[k]) - 1)]
        elif damage:
            raw[k] = damage(raw[k])
        if damage in HARMLESS:
            expected[k] = {"value": plain(json.loads(raw[k]))}
        elif damage in MARKED:
            expected[k] = {"damaged": "name" if damage is elsewhere else "conversations"}
        elif damage:
            assert not is_json(raw[k]), raw[k]
            expected[k] = {}
        text = write(raw, layout)
        if damage == "cut":
            text = b"[" + b", ".join(raw) if layout == "list" else b"\n".join(raw)
        if not damage and n % 4 == 0:
            text = b"\xef\xbb\xbf" + text
        if not damage and layout == "list" and b",]" not in text[-4:]:
            assert json.loads(text.decode("utf-8-sig")) == rows
        lines.append(json.dumps({"kind": getattr(damage, "__name__", damage), "layout": layout, "text": text.decode("latin-1"), "rows": expected}))
with open("json_rows.jsonl", "w") as file:
    file.write("\n".join(lines) + "\n")
