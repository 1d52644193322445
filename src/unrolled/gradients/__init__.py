"""The gradient laboratory: what happens to gradients on their way back through time.

`lags`        how much of an error reaches the state k steps before, in one backward pass
`jacobians`   the derivatives of one step and of many, their singular values, the lecture's bound
`monitor`     a watch to hang on any training loop
`laboratory`  all of it for a trained model and a text, or for fresh cells side by side
`clipping`, `omega`, `hessian_free`, `echo_state`: cures
"""

from __future__ import annotations

import unrolled.neural  # noqa: F401 (says which extra is missing, and settles torch's threads)
