"""A worker in Python. It reads calls from stdin and writes replies to stdout, one JSON message a line."""
import json
import os
import sys


def fail(message):
    raise ValueError(message)

methods = {"echo": lambda value: value, "fail": fail, "pid": os.getpid}

print('["up",{}]', flush=True)
for line in sys.stdin:
    kind, meta, *call = json.loads(line)
    if kind == "do":
        try:
            reply = ["ok", {}, methods[call[0]](*call[1:])]
        except Exception as e:
            reply = ["er", {}, f"{type(e).__name__}: {e}"]
        print(json.dumps(reply), flush=True)
