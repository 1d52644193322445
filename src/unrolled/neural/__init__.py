"""Neural language models: feed-forward, Elman, IRNN, LSTM and GRU nets (extra ``neural``)."""

from __future__ import annotations

import importlib.util
import os

from unrolled.errors import MissingExtraError

# torch's idle threads would keep their cores busy for milliseconds while our own kernels run; so
# short a wait leaves the gain of their spinning (a step of an Elman net takes a tenth less).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

# Looked for rather than imported, so that the command line has the settings without torch's delay.
if importlib.util.find_spec("torch") is None:
    raise MissingExtraError("neural", "torch")
