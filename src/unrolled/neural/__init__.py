"""Neural language models: feed-forward, Elman, IRNN, LSTM and GRU nets (extra ``neural``)."""

from __future__ import annotations

import os

from unrolled.errors import MissingExtraError

# torch's idle threads would keep their cores busy for milliseconds while our own kernels run; so
# short a wait leaves the gain of their spinning (a step of an Elman net takes a tenth less).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtraError("neural", "torch") from None
