"""Cells and whether pandas' CSV reader, left at its defaults, takes them for missing.

Run in this folder with pandas 2; writes pandas_missing.txt (a line: `missing` or `text`, then the cell as a JSON string).
"""
import io
import json

import pandas

words = sorted(pandas._libs.parsers.STR_NA_VALUES)
near = {word.lower() for word in words} | {word.upper() for word in words} | {f" {word}" for word in words if word}
near |= {f"{word} " for word in words if word} | {"none", "No", "Not applicable", "-", ".", "?", "inf", "NAT", "NaT", "Na"}
lines = [f"# pandas {pandas.__version__}"]
for cell in words + sorted(near - set(words)):
    # A second row of plain text keeps the column from becoming one of numbers.
    table = f'cell,other\n"{cell}",x\nAxial,x\n'
    value = pandas.read_csv(io.StringIO(table))["cell"][0]
    missing = not isinstance(value, str)
    assert missing == pandas.isna(value) and (not missing or f"{value}" == "nan") and (missing or value == cell)
    lines.append(f"{'missing' if missing else 'text'} {json.dumps(cell)}")
with open("pandas_missing.txt", "w") as file:
    file.write("\n".join(lines) + "\n")
