"""MNIST from its four IDX files, as sequences of pixels."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import FormatError, SettingError

Array = np.ndarray[Any, Any]

_FULL = 28


@dataclass(frozen=True)
class Digits:
    """Pixels (T, N) in [0, 1] and labels (N,) int64, to train on and to test on."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def in_order(self, order: Tensor) -> Digits:
        """The same with pixels read in another order (T,)."""
        return replace(
            self, train_images=self.train_images[order], test_images=self.test_images[order]
        )

    def held_out(self, last: int) -> Digits:
        """Training images alone, of which the last ones are the test set."""
        images, labels = self.train_images, self.train_labels
        return Digits(images[:, :-last], labels[:-last], images[:, -last:], labels[-last:])

    def first(self, count: int) -> Digits:
        """The same with the first training images alone."""
        images, labels = self.train_images[:, :count], self.train_labels[:count]
        return replace(self, train_images=images, train_labels=labels)


def read_mnist(folder: Path, side: int = _FULL) -> Digits:
    """Read ``train-images-idx3-ubyte``, ``t10k-...`` and their labels, plain or gzipped.

    Args:
        side: 28, or what it is to be averaged down to: a divisor of 28.

    Raises:
        SettingError: a file is missing, or the side does not divide 28.
        FormatError: a file is damaged.
    """
    if side < 1 or _FULL % side:
        raise SettingError(f"the side is {side}, allowed are 28 and its divisors")
    parts = []
    for name in ("train", "t10k"):
        images = _read(folder, f"{name}-images-idx3-ubyte", 3)
        labels = _read(folder, f"{name}-labels-idx1-ubyte", 1)
        if images.shape[1:] != (_FULL, _FULL) or len(images) != len(labels):
            raise FormatError(
                f"images of shape {images.shape} and {len(labels)} labels are not MNIST's",
                where=str(folder / f"{name}-images-idx3-ubyte"),
            )
        block = _FULL // side
        small = images.reshape(-1, side, block, side, block).mean((2, 4), dtype=np.float32) / 255
        parts.append(torch.from_numpy(small.reshape(len(images), -1).T.copy()))
        parts.append(torch.from_numpy(labels.astype(np.int64)))
    return Digits(*parts)


def _read(folder: Path, name: str, axes: int) -> Array:
    """An IDX file of bytes: two zeros, 8 for bytes, the number of axes, their lengths, the rest."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            break
    else:
        raise SettingError(f"there is no {name} or {name}.gz", where=str(folder))
    try:
        content = path.read_bytes()
        raw = gzip.decompress(content) if path.suffix == ".gz" else content
        head = struct.unpack_from(f">HBB{axes}I", raw)
        shape = head[3:]
        if head[:3] != (0, 8, axes) or len(raw) != 4 + 4 * axes + int(np.prod(shape)):
            raise FormatError("the file is no whole IDX file of bytes", where=str(path))
    except (OSError, EOFError, zlib.error, struct.error) as error:
        raise FormatError(f"the file is damaged: {error}", where=str(path)) from None
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)
