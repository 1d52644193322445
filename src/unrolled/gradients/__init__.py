"""Gradients through time: how they vanish or explode, and remedies.

`lags`        how much of an error reaches the state k steps before, in one backward pass
`jacobians`   derivatives of one step and of many, their singular values, the lecture's bound
`monitor`     measures gradients in any training loop
`measure`     all of it for a trained model and a text, or for fresh cells
`clipping`, `omega`, `hessian_free`, `echo_state`: remedies
"""

from __future__ import annotations

import unrolled.neural  # noqa: F401 (reports a missing extra)
