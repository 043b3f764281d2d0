"""The bytes of three events as TensorBoard's own classes write them, a line each, for trainer/src/train/events.

    python3 -m pip install tensorboard
    python3 trainer/tests/golden/events.py > trainer/tests/golden/events.txt
"""

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary

values = [
    Summary.Value(tag="loss", simple_value=2.5),
    Summary.Value(tag="loss/caption", simple_value=float("nan")),
    Summary.Value(tag="rate", simple_value=1e-5),
]
version = Event(wall_time=1.5e9, file_version="brain.Event:2")
start = Event(wall_time=1.5e9 + 0.25, step=301, session_log=SessionLog(status=SessionLog.START))
scalars = Event(wall_time=1.5e9 + 1.0, step=1 << 40, summary=Summary(value=values))
for event in (version, start, scalars):
    print(event.SerializeToString().hex())
