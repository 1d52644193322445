"""Initial recurrent weights, so that gradients neither vanish nor explode at first.

identity    Le, Jaitly, Hinton 2015, with ReLU: an error passes an active unit unchanged
orthogonal  Saxe, McClelland, Ganguli 2014: all singular values are one
radius      Gaussian, scaled to a spectral radius
sparse      a few connections into each unit, scaled to a spectral radius (Martens, Sutskever 2011)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from unrolled.errors import SettingError
from unrolled.neural.config import INITIALISATIONS


@torch.no_grad()
def initialise(
    weight: Tensor,
    kind: str,
    *,
    scale: float = 1.0,
    connections: int = 15,
    generator: torch.Generator | None = None,
) -> None:
    """Fill recurrent weights in place, the square block of each gate by itself.

    Args:
        weight: (G H, H), G gates.
        kind: identity, orthogonal, radius or sparse.
        scale: what identity and orthogonal matrices are multiplied by; else the spectral radius.
        connections: of a sparse matrix, non-zero weights into each unit.

    Raises:
        SettingError: an unknown kind, a shape that is no stack of square blocks, or a scale or a
            number of connections that is not positive.

    >>> weight = torch.empty(4, 4)
    >>> initialise(weight, "orthogonal")
    >>> bool(torch.allclose(weight @ weight.T, torch.eye(4), atol=1e-6))
    True
    """
    if kind not in INITIALISATIONS:
        allowed = ", ".join(INITIALISATIONS)
        raise SettingError(f"the initialisation '{kind}' is unknown, allowed are {allowed}")
    if weight.dim() != 2 or weight.shape[0] % weight.shape[1]:
        shape = " x ".join(map(str, weight.shape))
        raise SettingError(f"weights of {shape} are no recurrent weights of G*H x H")
    if not scale > 0 or connections < 1:
        raise SettingError(f"scale is {scale} and connections {connections}, both must be above 0")
    if weight.is_meta:  # a shape without numbers, which a file will give
        return
    for block in weight.split(weight.shape[1]):
        if kind == "identity":
            nn.init.eye_(block)
        elif kind == "orthogonal":
            nn.init.orthogonal_(block, generator=generator)
        else:
            block.normal_(generator=generator)
            if kind == "sparse":
                block.mul_(_few_a_row(block, connections, generator))
            block.div_(spectral_radius(block))
        block.mul_(scale)


@torch.no_grad()
def set_memory(bias: Tensor, steps: int, generator: torch.Generator | None = None) -> None:
    """Fill the bias of an LSTM so that its units forget after 1 to so many steps at first.

    Source: C. Tallec, Y. Ollivier. Can recurrent neural networks warp time? ICLR 2018, section 2:
    the forget gate's is the logarithm of a uniform number of steps, the input gate's its negative.

    Args:
        bias: (4 H,), of the input gate, the forget gate, the new values and the output gate.
        steps: at least 3.
        generator: of random numbers; None for torch's own.

    Raises:
        SettingError: fewer steps, or a bias that is not of four gates.

    >>> bias = torch.zeros(8)
    >>> set_memory(bias, 100)
    >>> bool((bias[:2] == -bias[2:4]).all()), bool((bias[2:4].sigmoid() < 0.991).all())
    (True, True)
    """
    if bias.dim() != 1 or len(bias) % 4:
        raise SettingError(f"a bias of shape {tuple(bias.shape)} is not that of four gates")
    if steps < 3:
        raise SettingError(f"the memory is {steps} steps, allowed are 3 and more")
    enter, forget, *_ = bias.chunk(4)
    forget.uniform_(1, steps - 1, generator=generator).log_()
    enter.copy_(-forget)


@torch.no_grad()
def set_timescales(weight: Tensor, shortest: float, longest: float) -> None:
    """Fill recurrent weights so that a unit keeps a share 1 - 1 / tau of its own state, and
    reads no other one.

    The tau of the units, after so many steps of which about 1 / e of a state is left, are evenly
    spaced on a logarithmic scale: a sequence is first summed up with weights that fade at many
    rates, where the identity (Le, Jaitly, Hinton 2015) would give every unit the same one.

    Args:
        weight: (H, H) of an Elman layer. shortest, longest: tau in steps.

    Raises:
        SettingError: a shape that is not square, or not 1 <= shortest <= longest.

    >>> weight = torch.empty(3, 3)
    >>> set_timescales(weight, 2, 50)
    >>> weight.diagonal()
    tensor([0.5000, 0.9000, 0.9800])
    """
    if weight.dim() != 2 or weight.shape[0] != weight.shape[1]:
        raise SettingError(f"weights of shape {tuple(weight.shape)} are not one square")
    if not 1 <= shortest <= longest:
        limits = f"{shortest} to {longest}"
        raise SettingError(f"states fade in {limits} steps, allowed are 1 and more, ascending")
    logarithms = torch.linspace(
        math.log(shortest), math.log(longest), len(weight), dtype=weight.dtype
    )
    weight.zero_().diagonal().copy_(1 - torch.exp(-logarithms))


def _few_a_row(block: Tensor, connections: int, generator: torch.Generator | None) -> Tensor:
    """Ones at random places, so many in each row (H, H), and zeros elsewhere."""
    noise = torch.rand(block.shape, generator=generator, device=block.device)
    places = noise.topk(min(connections, block.shape[1]), dim=1).indices
    return torch.zeros_like(block).scatter_(1, places, 1.0)


@torch.no_grad()
def spectral_radius(matrix: Tensor) -> float:
    """The largest absolute value among the eigenvalues of a square matrix (H, H)."""
    return float(torch.linalg.eigvals(matrix.double()).abs().max())
