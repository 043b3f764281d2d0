"""Random CSV tables as Python's csv module and pandas read them, sound and with one damaged row.

Run in this folder with Python 3 and `pip install 'pandas<3'`; writes csv_rows.jsonl. A line is a file's text and its rows by
the csv module: the line where each begins, counted from 1, and its fields. In a damaged file the row at `damaged` is to be set
aside, and every other row is to be read as in the sound file.
"""
import csv
import io
import json
import random

import pandas

HEADER = ["Image Path", "Question Type", "Question", "Choice A", "Choice B", "Choice C", "Choice D", "Answer", "Answer Choice"]
WORDS = ["axial", "the liver", "a, b", "5\" mass", "two\nlines", "three\n\nlines, so", "\"quoted\"", ", first", "\nbreak", "x", "Yes", "a\tb", "\u809d", "1", "A"]
# Cells that are written without quotes.
PLAIN = ["axial", "coronal", "the liver", "x", "Yes", "No", "\u809d", "C. a B. b"]
draw = random.Random(11)


def table(words=WORDS):
    rows = []
    for n in range(draw.randint(3, 8)):
        cell = lambda: draw.choice(words)
        rows.append([f"case/{n:03}/Axial.npy", str(draw.randint(1, 5)), f"Question {n}? " + cell().strip(), cell(), cell(), cell(), cell(), cell(), draw.choice("ABCD")])
    return rows


def lines_of(row, quoting, end):
    out = io.StringIO(newline="")
    # The writer quotes what ends its own lines.
    row = [cell.replace("\n", end[0]) for cell in row] if end == "\r" else row
    csv.writer(out, quoting=quoting, lineterminator=end).writerow(row)
    return out.getvalue()


def read(text):
    """The rows by the csv module, each with the line where it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows, start = [], 1
    for row in reader:
        if row and not (len(row) == 1 and not row[0].strip()):
            rows.append([start, row])
        start = reader.line_num + 1
    return rows[1:]


def file_of(pieces, end):
    """Header and rows, blank lines between some of them, with or without the last line's end."""
    text = ",".join(HEADER) + end
    for piece in pieces:
        if draw.random() < 0.15:
            text += draw.choice(["", "  ", "\t"]) + end
        text += piece
    return text[: -len(end)] if draw.random() < 0.3 else text


def open_quote(row):
    row = list(row)
    column = draw.randrange(2, 8)
    cells = [c if n != column else '"' + c for n, c in enumerate(row)]
    return ",".join(cells)


def open_last(row):
    return ",".join(row[:-1]) + ',"' + row[-1]


def open_with_comma(row):
    row = list(row)
    row[2] = '"Is it a, b or c?'
    return ",".join(row)


def close_missing(row):
    cells = [f'"{c}"' for c in row]
    column = draw.randrange(9)
    cells[column] = cells[column][:-1]
    return ",".join(cells)


def text_after(row):
    row = list(row)
    row[draw.randrange(2, 8)] = '"a "big" mass"'
    return ",".join(row)


def too_few(row):
    return ",".join(row[: draw.randrange(1, 9)])


def too_many(row):
    row = list(row)
    row.insert(draw.randrange(9), "more")
    return ",".join(row)


def inch(row):
    """Closed by chance: see below."""


lines = [json.dumps({"pandas": pandas.__version__})]
for n in range(60):
    end = ["\n", "\r\n", "\r"][n % 3]
    quoting = [csv.QUOTE_MINIMAL, csv.QUOTE_ALL][n // 3 % 2]
    text = file_of([lines_of(row, quoting, end) for row in table()], end)
    rows = read(text)
    frame = pandas.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
    assert frame.values.tolist() == [row for _, row in rows], text
    lines.append(json.dumps({"text": ("\ufeff" if n % 5 == 0 else "") + text, "rows": rows}))
for damage in [open_quote, open_last, open_with_comma, close_missing, text_after, too_few, too_many, inch]:
    for n in range(30):
        end = ["\n", "\r\n", "\r"][n % 3]
        rows = table()
        k = draw.randrange(len(rows))
        plain = table(PLAIN)[0]
        rows[k] = [rows[k][0], rows[k][1], plain[2]] + plain[3:8] + [rows[k][8]]
        pieces = [lines_of(row, csv.QUOTE_MINIMAL, end) for row in rows]
        if damage is inch:
            # A quote that is opened in one row and closed by an inch in the same column of a later one.
            k = draw.randrange(len(rows) - 1)
            m = draw.randrange(k + 1, len(rows))
            rows = [[f"case/{i}", str(draw.randint(1, 5))] + [draw.choice(PLAIN) for _ in range(6)] + ["A"] for i in range(len(rows))]
            column = draw.randrange(2, 8)
            rows[m][column] = 'mass of 5"'
            # Stray quotes in a field without quotes are characters: these rows are written as they are.
            pieces = [",".join(row) + end for row in rows]
            bad = [c if i != column else '"' + c for i, c in enumerate(rows[k])]
            bad = ",".join(bad) + end
        else:
            bad = damage(rows[k]) + end
        state = draw.getstate()
        sound = file_of(pieces, end)
        draw.setstate(state)
        text = file_of(pieces[:k] + [bad] + pieces[k + 1 :], end)
        found = read(sound)
        assert len(found) == len(rows)
        damaged = found.pop(k)[0]
        lines.append(json.dumps({"kind": damage.__name__, "text": text, "damaged": damaged, "rows": found}))
with open("csv_rows.jsonl", "w") as file:
    file.write("\n".join(lines) + "\n")
