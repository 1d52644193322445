"""Neural language models: feed-forward, Elman, IRNN, LSTM and GRU nets (extra ``neural``)."""

from __future__ import annotations

from unrolled.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401
except ImportError:
    raise MissingExtraError("neural", "torch") from None
