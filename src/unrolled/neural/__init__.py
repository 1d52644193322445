"""Neural language models: feed-forward, Elman, IRNN, LSTM and GRU nets (extra ``neural``)."""

from __future__ import annotations

import importlib.util

from unrolled.errors import MissingExtraError

# Looked for rather than imported, so that the command line has the settings without torch's delay.
if importlib.util.find_spec("torch") is None:
    raise MissingExtraError("neural", "torch")
