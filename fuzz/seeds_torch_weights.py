"""Seeds of the fuzz target `torch_weights`: some of the small files that the trainer's tests read.

Run with Python 3 and `pip install numpy safetensors`, after `trainer/tests/golden/torch_weights.py`.
"""

from pathlib import Path

from safetensors import safe_open

ROOT = Path(__file__).parent
CORPUS = ROOT / "corpus" / "torch_weights"
NAMES = """
simple one_storage parameters ordered nested_extra zip64 safetensors model-00001-of-00002.safetensors
legacy pointer pickle_alone system eval_protocol_4 negative huge_numel expanded_bomb
no_pickle missing_storage big_endian compressed encrypted overlapping name_twice
"""

CORPUS.mkdir(parents=True, exist_ok=True)
with safe_open(ROOT / "../trainer/tests/golden/torch_weights.safetensors", "numpy") as golden:
    files = {key.removeprefix("file/").removeprefix("bad/"): key for key in golden.keys() if key.startswith("file/")}
    for name in NAMES.split():
        data = golden.get_tensor(files[name]).tobytes()
        assert len(data) <= 2048, (name, len(data))
        (CORPUS / name.partition(".")[0]).write_bytes(data)
