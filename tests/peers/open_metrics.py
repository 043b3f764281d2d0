"""Prints what Prometheus' own client finds in a text of metrics, as JSON: of each family its type, its help and its samples.

    python3 open_metrics.py FILE
"""

import json
import math
import sys

from prometheus_client.parser import text_fd_to_metric_families

with open(sys.argv[1]) as text:
    found = {}
    for family in text_fd_to_metric_families(text):
        assert family.name not in found and family.documentation and family.type in ("counter", "gauge"), family
        samples = [[s.name, s.labels, None if math.isnan(s.value) else s.value] for s in family.samples]
        found[family.name] = {"type": family.type, "help": family.documentation, "samples": samples}
print(json.dumps(found))
