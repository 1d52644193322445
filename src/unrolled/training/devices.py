"""Where a net computes: on the CPU or on a GPU, and how precisely."""

from __future__ import annotations

import torch

from unrolled.errors import SettingError

DEVICES = ("auto", "cpu", "cuda")
CPU = torch.device("cpu")


def device_of(name: str | torch.device) -> torch.device:
    """The device of a name.

    Args:
        name: ``auto``: a GPU if torch finds one, else the CPU; ``cpu``; ``cuda``; or one of torch's
            own, which is taken as it is.

    Raises:
        SettingError: the name is another, or it is ``cuda`` and torch finds no GPU.

    >>> device_of("cpu")
    device(type='cpu')
    """
    if isinstance(name, torch.device):
        return name
    if name not in DEVICES:
        raise SettingError(f"the device is '{name}', allowed are {', '.join(DEVICES)}")
    found = torch.cuda.is_available()
    if name == "cuda" and not found:
        built = " and is built for CPUs only" if torch.version.cuda is None else ""
        raise SettingError(
            f"the device is 'cuda', and torch finds no GPU{built}", hint="Take auto or cpu"
        )
    return torch.device("cuda") if found and name != "cpu" else CPU


def computing_on(device: torch.device) -> str:
    """A line that names the device, empty for the CPU."""
    return "" if device.type == "cpu" else f"computing on {device.type}"


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether products are taken in bfloat16: where it is asked for, or on GPUs that have it.

    >>> uses_bfloat16("auto", CPU)
    False
    """
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return precision == "bfloat16"
