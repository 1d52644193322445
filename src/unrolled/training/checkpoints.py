"""Training in the middle, as one safetensors file: weights, optimiser, random numbers, place."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import FormatError, SettingError
from unrolled.storage.model_file import ModelFile, read_model, write_model

if TYPE_CHECKING:
    from unrolled.neural.trainer import Trainer
    from unrolled.training.adam import AdamW

KIND = "net-checkpoint"
VERSION = 2


def write_checkpoint(trainer: Trainer, path: Path) -> None:
    """Write all that `resume_from` needs, whole or not at all; with the same number of processes
    training goes on to the same bits, with another to nearly the same.

    Raises:
        UnrolledError: the disk is full or fails; an earlier checkpoint stays as it was.
    """
    tensors = dict(_of_net("net", trainer.net.named_parameters()))
    tensors |= {f"best.{name}": value for name, value in (trainer.best or {}).items()}
    tensors |= {f"mean.{name}": value for name, value in trainer.averager.means.items()}
    if trainer.direct is not None:
        tensors["direct.squares"] = trainer.direct.squares
    group = trainer.group
    for place, part in enumerate(trainer.state):  # of the whole batch
        tensors[f"state.{place}"] = torch.cat(group.all_rows(part))
    inner = trainer.optimiser.state_dict()["state"]
    for place, slots in inner.items():
        tensors |= {f"optimiser.{place}.{slot}": _tensor(value) for slot, value in slots.items()}
    for rank, random in enumerate(group.all_rows(torch.get_rng_state())):
        tensors[f"random.{rank}"] = random
    if not group.first:
        return
    config = {
        "version": VERSION,
        **identity(trainer),
        "epoch": trainer.epoch,
        "position": trainer.position,
        "step": trainer.step,
        "totals": trainer.totals.kept(),
        "schedule": trainer.schedule.state(),
        "averaged": trainer.averager.count,
        "curve": [asdict(record) for record in trainer.curve],
    }
    arrays = {name: value.detach().cpu().contiguous().numpy() for name, value in tensors.items()}
    write_model(path, kind=KIND, config=config, arrays=arrays)


def _of_net(prefix: str, named: Any) -> list[tuple[str, Tensor]]:
    return [(f"{prefix}.{name}", value) for name, value in named]


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)


def identity(trainer: Trainer) -> dict[str, Any]:
    """What must be the same for training to go on: settings and text."""
    return {
        "net": asdict(trainer.net_config),
        "training": asdict(trainer.config),
        "text": trainer.checksums(),
    }


def resume_from(trainer: Trainer, path: Path) -> None:
    """Put a fresh trainer where the checkpoint was written.

    Raises:
        FormatError: the file is damaged, no checkpoint, or of another version.
        SettingError: it is of another net, other settings or another text.
    """
    file = read_model(path, verify=True)
    if file.kind != KIND:
        raise FormatError(f"it holds a {file.kind}, not a checkpoint", where=str(path))
    _check(file, trainer)
    device = trainer.device
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in file.arrays.items()}
    from unrolled.training.averaging import set_parameters

    config = file.config
    try:
        set_parameters(trainer.net, _under("net.", tensors))
        trainer.best = {n: t.to(device) for n, t in _under("best.", tensors).items()} or None
        trainer.averager.count = config["averaged"]
        means = _under("mean.", tensors)
        trainer.averager.means = {name: tensor.to(device) for name, tensor in means.items()}
        states = _under("state.", tensors)
        parts = [states[str(place)] for place in range(len(states))]
        trainer.state = tuple(part[trainer.group.share(len(part))].to(device) for part in parts)
        _fill_optimiser(trainer.optimiser, _under("optimiser.", tensors))
        if trainer.direct is not None:
            trainer.direct.squares.copy_(tensors["direct.squares"])
        own = f"random.{trainer.group.rank}"
        if own in tensors:  # else there are more processes than there were
            torch.set_rng_state(tensors[own])
        trainer.take_place(config)
    except (KeyError, TypeError, RuntimeError, ValueError) as error:
        raise FormatError(f"the checkpoint cannot be used: {error}", where=str(path)) from None


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {n[len(prefix) :]: tensor for n, tensor in tensors.items() if n.startswith(prefix)}


def _fill_optimiser(optimiser: torch.optim.Optimizer | AdamW, slots: dict[str, Tensor]) -> None:
    state = optimiser.state_dict()
    state["state"] = {}
    for name, value in slots.items():
        place, slot = name.split(".")
        state["state"].setdefault(int(place), {})[slot] = value
    optimiser.load_state_dict(state)


def _check(file: ModelFile, trainer: Trainer) -> None:
    where = str(file.path)
    if file.config.get("version") != VERSION:
        raise FormatError(
            f"the checkpoint has version {file.config.get('version')}, and this program reads "
            f"version {VERSION}",
            where=where,
            hint="Train anew without --resume",
        )
    for part, wanted in identity(trainer).items():
        found = file.config.get(part)
        if not isinstance(found, dict):
            raise FormatError(f"the checkpoint lacks its '{part}'", where=where)
        for name, value in wanted.items():
            if found.get(name) != value:
                raise SettingError(
                    f"the checkpoint was written with {part} {name} {found.get(name)}, "
                    f"and now it is {value}",
                    where=where,
                    hint="Use the same settings and text, or train anew without --resume",
                )
