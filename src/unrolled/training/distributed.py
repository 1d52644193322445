"""Several processes that train one net together, as torchrun starts them.

Each takes its share of the B texts of a batch, so that together they take the batch of one process
alone. Every process holds the whole net; before each step the gradients are summed in one message.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from unrolled.errors import SettingError, UnrolledError
from unrolled.training.devices import CPU, device_of

if TYPE_CHECKING:
    from unrolled.text.sources import Sources

PATIENCE = timedelta(hours=6)  # the others wait while the first one validates


@dataclass(frozen=True)
class Group:
    """This process among those that train together; alone by default.

    Attributes:
        rank: number of this process, from 0. size: how many there are.
        local_size: how many there are on this machine.
        device: where this process computes, a GPU of its own or the CPU.
    """

    rank: int = 0
    size: int = 1
    local_size: int = 1
    device: torch.device = CPU

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, reports and writes."""
        return self.rank == 0

    def threads(self, threads: int) -> int:
        """This process's share of the threads that its machine may use."""
        return max(threads // self.local_size, 1)

    # -- shares ----------------------------------------------------------------------------------

    def share(self, count: int) -> slice:
        """Which of the texts of a batch this process works on, perhaps none."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    # -- messages --------------------------------------------------------------------------------

    def sum_gradients(self, parameters: Sequence[nn.Parameter], flag: bool = False) -> bool:
        """Sum the gradients over all processes; whether any process raised its flag.

        A parameter without a gradient in any process gets none.
        """
        if self.size == 1:
            return flag
        given = [p for p in parameters if p.requires_grad]
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in given]
        marks = [float(p.grad is not None) for p in given]
        last = parts[0].new_tensor([*marks, float(flag)])
        flat = torch.cat([*(part.flatten() for part in parts), last])
        with _others_may_end():
            dist.all_reduce(flat)
        *sums, last = flat.split([*(part.numel() for part in parts), len(last)])
        *counts, flags = last.tolist()
        for parameter, total, count in zip(given, sums, counts, strict=True):
            parameter.grad = total.view_as(parameter) if count else None
        return bool(flags)

    def sum_tensor(self, tensor: Tensor) -> None:
        """Put the sum over all processes into a tensor."""
        if self.size > 1:
            with _others_may_end():
                dist.all_reduce(tensor)

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums of numbers over all processes."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        with _others_may_end():
            dist.all_reduce(tensor)
        found: list[float] = tensor.tolist()
        return found

    def broadcast_from_rank0(self, value: float) -> float:
        """The number of the first process, in all processes."""
        return self.sum([value if self.first else 0.0])[0]

    def all_rows(self, tensor: Tensor) -> list[Tensor]:
        """The tensors (B, ...) of all processes; B may differ from one to another."""
        if self.size == 1:
            return [tensor]
        sizes = [int(n) for n in self.sum(np.eye(self.size)[self.rank] * len(tensor))]
        padded = tensor.new_zeros(max(sizes), *tensor.shape[1:], device=self.device)
        padded[: len(tensor)] = tensor
        found = [torch.empty_like(padded) for _ in sizes]
        with _others_may_end():
            dist.all_gather(found, padded)
        return [part[:size].to(tensor.device) for part, size in zip(found, sizes, strict=True)]

    def require_equal(self, number: int, what: str) -> None:
        """Check that all processes have the same number.

        Raises:
            UnrolledError: they have not, on every process.
        """
        numbers = {int(part) for part in self.all_rows(torch.tensor([number]))}
        if len(numbers) > 1:
            raise UnrolledError(f"the {self.size} processes do not have the same {what}")


def join(device: str | torch.device = "auto") -> Group:
    """The group that torchrun's environment describes, joined; a process alone without one.

    Args:
        device: where it computes, see `device_of`; on GPUs each process has one of its own.

    Raises:
        SettingError: more processes than GPUs, or as of `device_of`.
        UnrolledError: the others cannot be reached.
    """
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    where = device_of(device)
    given = "MASTER_ADDR" in os.environ and all(name in os.environ for name in names)
    rank, size, local_rank, local_size = (int(os.environ[n]) if given else 1 for n in names)
    if size == 1:
        return Group(device=where)
    gpus = torch.cuda.device_count() if where.type == "cuda" else 0
    if where.type == "cuda":
        where = torch.device("cuda", local_rank)
    group = Group(rank, size, local_size, where)
    if 0 < gpus < group.local_size:
        raise SettingError(
            f"{group.local_size} processes are to share {gpus} GPUs, and each needs its own",
            hint=f"Use torchrun --nproc-per-node {gpus}",
        )
    if gpus:
        torch.cuda.set_device(where)
    if not dist.is_initialized():
        with _others_may_end():
            dist.init_process_group("nccl" if gpus else "gloo", timeout=PATIENCE)
    return group


def refuse_standard_input(sources: Sources) -> None:
    """Texts are read by each process.

    Raises:
        SettingError: the text is to come from standard input, of which there is only one.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    if any(os.fspath(source) == "-" for source in given):
        raise SettingError(
            "several processes cannot share standard input", hint="Write the text to a file first"
        )


def leave(group: Group) -> None:
    """End the group, once all have come here."""
    if group.size > 1:
        group.sum([0.0])
        dist.destroy_process_group()


def is_first() -> bool:
    """Whether this process is alone or the first of its group, without joining it."""
    return os.environ.get("RANK", "0") == "0" or "MASTER_ADDR" not in os.environ


@contextmanager
def _others_may_end() -> Iterator[None]:
    """Within, a message that fails is reported as what it means.

    Raises:
        UnrolledError: another process is gone.
    """
    try:
        yield
    except RuntimeError as error:
        raise UnrolledError(
            "another process of this training has ended, so this one ends too",
            hint="See its own message; --resume continues from the checkpoint",
        ) from error
