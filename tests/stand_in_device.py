"""A device beside the CPU on any machine, to test that all tensors are where they belong.

Tensors on it are of the device "meta" as far as any code can see, but hold their numbers, which are
computed on the CPU. An operation on tensors of both devices fails, as on a GPU, and so does a look
at the numbers that does not bring them to the CPU first.

>>> with stand_in() as seen:
...     x = torch.ones(3).to(DEVICE)
...     (x + x).cpu().tolist(), x.device.type, sorted(seen.on_device)
([2.0, 2.0, 2.0], 'meta', ['aten::add'])
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")
_MOVES = ("aten::_to_copy", "aten::copy_")


class _There(Tensor):
    """A tensor on the stand-in; `held` has its numbers."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> _There:
        made: _There = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
            dtype=held.dtype, device=DEVICE,
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(function, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:
        return f"_There({self.held!r})"


class Seen(TorchDispatchMode):
    """Which operations were on the stand-in, and which on floating-point numbers of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.on_device: set[str] = set()
        self.on_cpu: set[str] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = function._schema.name
        tensors = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, Tensor)]
        there = [isinstance(part, _There) for part in tensors]
        if name not in _MOVES and any(there):
            self.on_device.add(name)
            for own, tensor in zip(there, tensors, strict=True):
                assert own or tensor.dim() == 0, f"{name} has a tensor of the CPU: {tensor.shape}"
        elif name not in _MOVES and any(part.is_floating_point() for part in tensors):
            self.on_cpu.add(name)
        return _compute(function, args, kwargs)


@contextmanager
def stand_in() -> Iterator[Seen]:
    """Within, `DEVICE` computes."""
    with Seen() as seen:
        yield seen


def _compute(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on what the tensors hold; results are where an operation puts them."""
    given = [part for part in tree_flatten((args, kwargs))[0] if isinstance(part, _There)]
    back = {id(part.held): part for part in given}
    wanted = kwargs.get("device")
    there = bool(given) if wanted is None else torch.device(wanted) == DEVICE
    if wanted is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if function._schema.name == "aten::copy_":
        there = isinstance(args[0], _There)
    held = function(*_held(args), **_held(kwargs))

    def placed(part: Any) -> Any:
        if not isinstance(part, Tensor) or not there:
            return part
        return back.get(id(part)) if id(part) in back else _There(part)

    return tree_map(placed, held)


def _held(given: Any) -> Any:
    return tree_map(lambda part: part.held if isinstance(part, _There) else part, given)
