"""Gradients by lag: against finite differences, autograd and, of a linear net, matrix powers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from tests.gradients.lag_oracle import mean_by_lag, norms_by_differences, zeros
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from small_nets import small_model
from unrolled.errors import SettingError
from unrolled.gradients.adjoint import Entering, chunks
from unrolled.gradients.by_lag import LayerLags
from unrolled.gradients.lags import lags_of_module, trace_net
from unrolled.gradients.stacks import stack_of
from unrolled.neural.cells import Cell

T, B, E, H = 6, 3, 4, 5
KINDS = [("elman", "tanh"), ("elman", "sigmoid"), ("elman", "linear"), ("irnn", "relu"),
         ("lstm", "tanh"), ("gru", "tanh")]  # fmt: skip


def _cell(kind: str, nonlinearity: str = "tanh") -> Cell:
    torch.manual_seed(7)
    cell = Cell(kind, E, H, nonlinearity=nonlinearity).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.normal_(std=0.6)
    return cell


def _input() -> Tensor:
    return torch.randn(T, B, E, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _losses(y: Tensor) -> Tensor:
    """E_t (T, B) with errors of other directions and sizes at each step."""
    size = torch.arange(1, y.shape[0] + 1, dtype=y.dtype).reshape(-1, 1)
    return size * (y**2 * torch.arange(1, y.shape[2] + 1)).sum(-1) + y[..., 0]


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_norms_equal_finite_differences(kind: str, nonlinearity: str) -> None:
    cell, x = _cell(kind, nonlinearity), _input()
    found = lags_of_module(cell, x, lambda y: _losses(y).sum()).layers[0]
    with torch.no_grad():
        wanted = norms_by_differences(cell, x, _losses)
        assert found.norms == pytest.approx(mean_by_lag(wanted).numpy(), rel=1e-4, abs=1e-4)
        heat = np.array([[wanted[t - k, t].mean() if t >= k else np.nan for t in range(T)]
                         for k in range(T)])  # fmt: skip
        np.testing.assert_allclose(found.heat, heat, rtol=1e-4, atol=1e-6)
        if kind == "lstm":
            of_cells = mean_by_lag(norms_by_differences(cell, x, _losses, part=1))
            assert found.cell_norms == pytest.approx(of_cells.numpy(), rel=1e-4)
    assert found.counts.tolist() == [B * (T - k) for k in range(T)]
    assert found.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize(("kind", "nonlinearity"), KINDS)
def test_the_parts_of_all_lags_make_up_the_gradient_of_fused_and_unrolled_nets(
    kind: str, nonlinearity: str
) -> None:
    cell, x = _cell(kind, nonlinearity), _input()
    found = lags_of_module(cell, x, lambda y: _losses(y).sum(), weights=True)
    for run in (cell.run_fused, cell.run_unrolled):
        y, _ = run(x, zeros(cell, B))
        (wanted,) = torch.autograd.grad(_losses(y).sum(), cell.state_weight)
        torch.testing.assert_close(found.weights[0].sum(0), wanted, rtol=1e-9, atol=1e-9)
    assert found.weight_shares()[0].sum() == pytest.approx(1)
    # The first lag's part is what plain backpropagation gives.
    y, _ = cell.run_local(x, zeros(cell, B))
    (alone,) = torch.autograd.grad(_losses(y).sum(), cell.state_weight)
    if kind != "lstm":  # whose plain backpropagation begins at h and c alike
        torch.testing.assert_close(found.weights[0][0], alone, rtol=1e-9, atol=1e-9)


def test_a_linear_nets_norms_are_those_of_matrix_powers() -> None:
    cell, x = _cell("elman", "linear"), _input()
    direction = torch.arange(1.0, H + 1, dtype=torch.float64)
    found = lags_of_module(cell, x, lambda y: (y @ direction).sum()).layers[0]
    power = direction
    for lag in range(T):
        assert found.norms[lag] == pytest.approx(float(power.norm().detach()), rel=1e-12)
        power = cell.state_weight.t() @ power


def test_along_the_cell_state_errors_shrink_by_forget_and_update_gates_only() -> None:
    x = torch.zeros(T, B, E, dtype=torch.float64)
    for kind, gate, bias in (("lstm", 1, 2.0), ("gru", 1, -1.0)):
        cell = _cell(kind)
        with torch.no_grad():
            cell.bias[gate * H : (gate + 1) * H] = bias
            cell.state_weight[gate * H : (gate + 1) * H] = 0  # so the gate is the same throughout
        found = lags_of_module(cell, x, lambda y: y[-1].sum()).layers[0]
        along = found.highway_norms
        assert along is not None
        open_ = 1 / (1 + np.exp(-bias))
        assert along[1:] / along[:-1] == pytest.approx(np.full(T - 1, open_), rel=1e-9)
        # At lag 0 all of the error is there.
        whole = found.cell_norms if found.cell_norms is not None else found.norms
        assert along[0] == pytest.approx(whole[0])
    assert lags_of_module(_cell("elman"), x, lambda y: y.sum()).layers[0].highway_norms is None


MODULES = [
    (kind, *shape)
    for kind, shape in itertools.product(
        (nn.RNN, nn.LSTM, nn.GRU), [(1, False), (2, False), (1, True), (2, True)]
    )
]


def _module(kind: Any, layers: int, both: bool, **more: Any) -> nn.RNNBase:
    torch.manual_seed(3)
    module: nn.RNNBase = kind(E, H, num_layers=layers, bidirectional=both, **more)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.5)
    return module


@pytest.mark.parametrize(("kind", "layers", "both"), MODULES)
def test_torchs_modules_agree_with_autograd_in_their_lowest_layer(
    kind: Any, layers: int, both: bool
) -> None:
    """dE_t/dx_s is dE_t/d(gates) W: what reaches the input through the lowest layer's states."""
    module, x = _module(kind, layers, both), _input()
    stack = stack_of(module)
    x.requires_grad_()
    y, _ = module(x)
    errors = torch.randn_like(y).detach()
    reached = torch.zeros(T, T, B, E, dtype=torch.float64)

    from unrolled.gradients.adjoint import StepErrors, carry_back

    def visit(seen: StepErrors) -> None:
        if seen.number < len(stack.layers[0]):
            text_step = T - 1 - seen.step if seen.number == 1 else seen.step
            gates = seen.gates
            if kind is nn.GRU:  # the reset gate stands between the state and the new value only
                wide = seen.errors[0].unsqueeze(-2)
                gates = (wide * seen.tangent.of_input[seen.step]).flatten(-2)  # type: ignore[attr-defined]
            reached[seen.first :, text_step] += gates @ seen.tangent.input_weight

    entering = Entering(errors, directions=2 if both else 1)
    carry_back(stack, stack.trace(x.detach()), entering, torch.arange(T), visit)
    for t in range(T):
        (wanted,) = torch.autograd.grad((y[t] * errors[t]).sum(), x, retain_graph=True)
        torch.testing.assert_close(reached[t], wanted, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("kind", "layers", "both"), MODULES[:4] + MODULES[7:8])
def test_however_the_input_is_laid_out_the_norms_are_the_same(
    kind: Any, layers: int, both: bool
) -> None:
    x, module = _input(), _module(kind, layers, both)
    turned = _module(kind, layers, both, batch_first=True)
    plain = lags_of_module(module, x, lambda y: y.square().sum())
    others = [lags_of_module(turned, x.transpose(0, 1), lambda y: y.square().sum())]
    packed = pack_padded_sequence(x, torch.full((B,), T))
    others.append(lags_of_module(module, packed, lambda y: y.data.square().sum()))
    alone = [lags_of_module(module, x[:, b], lambda y: y.square().sum()) for b in range(B)]
    alone[0].add(alone[1])
    alone[0].add(alone[2])
    others.append(alone[0])
    for other in others:
        for one, two in zip(plain.layers, other.layers, strict=True):
            assert one.name == two.name
            np.testing.assert_allclose(one.norms, two.norms, rtol=1e-9)
            np.testing.assert_allclose(one.heat, two.heat, rtol=1e-9)


@pytest.mark.parametrize("both", [False, True])
def test_packed_sequences_count_as_each_of_them_alone(both: bool) -> None:
    module, x = _module(nn.LSTM, 2, both), _input()
    lengths = [3, 6, 2]
    packed = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    found = lags_of_module(module, packed, lambda y: y.data.square().sum())
    alone = [
        lags_of_module(module, x[:length, b], lambda y: y.square().sum())
        for b, length in enumerate(lengths)
    ]
    alone[0].add(alone[1])
    alone[0].add(alone[2])
    for one, two in zip(found.layers, alone[0].layers, strict=True):
        np.testing.assert_allclose(one.norms, two.norms, rtol=1e-9)
        np.testing.assert_array_equal(one.counts, two.counts)


def test_sentences_a_few_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = _module(nn.GRU, 2, True), _input()
    whole = lags_of_module(module, x, lambda y: y.square().sum())
    monkeypatch.setattr("unrolled.gradients.adjoint._ROOM", T * T * 2 * H)
    assert len(list(chunks(stack_of(module), Entering(x.new_zeros(T, B, 2 * H))))) == B
    parted = lags_of_module(module, x, lambda y: y.square().sum())
    for one, two in zip(whole.layers, parted.layers, strict=True):
        np.testing.assert_allclose(one.norms, two.norms, rtol=1e-12)


@pytest.mark.parametrize("output", ["classes", "full", "adaptive"])
@pytest.mark.parametrize("more", [{}, {"layers": 2, "residual": True}, {"cell": "gru"}])
def test_a_language_models_own_loss_is_what_flows_back(output: str, more: dict[str, Any]) -> None:
    model = small_model(cell=more.get("cell", "lstm"), output_layer=output, tied=False, **{
        name: value for name, value in more.items() if name != "cell"})  # fmt: skip
    net = model.net
    words = torch.randint(1, 8, (T, B), generator=torch.Generator().manual_seed(2))
    targets = words.roll(1, 0)
    targets[-1, 0] = -1
    trace = trace_net(net, words, targets)
    found, after = trace.lags(weights=True), trace.after
    h, last = net(words, net.begin(B))
    real = targets.flatten() >= 0
    loss = net.output.loss(h.flatten(0, 1)[real], targets.flatten()[real]) * int(real.sum())
    for cell, parts in zip(net.layers, found.weights, strict=True):
        (wanted,) = torch.autograd.grad(loss, cell.state_weight, retain_graph=True)
        torch.testing.assert_close(parts.sum(0), wanted, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(after, last)
    assert found.layers[0].counts[0] == T * B - 1
    assert not any(cell._forward_hooks for cell in net.layers)


def test_a_carried_state_is_where_the_first_step_begins() -> None:
    net = small_model(cell="elman").net
    words = torch.randint(1, 8, (2 * T, B), generator=torch.Generator().manual_seed(2))
    half = trace_net(net, words[:T], words[:T])
    rest = trace_net(net, words[T:], words[T:], half.after)
    whole = trace_net(net, words, words)
    torch.testing.assert_close(rest.after, whole.after)


def test_where_no_error_enters_no_pair_is_counted() -> None:
    found = lags_of_module(_cell("elman"), _input(), lambda y: y[3].sum()).layers[0]
    assert found.counts.tolist() == [B, B, B, B, 0, 0]
    assert found.norms[4:].tolist() == [0, 0]


def test_reach_is_where_one_percent_is_left() -> None:
    sums = np.array([90.0, 9.5, 0.4, 0.1])
    ones = np.ones(4)
    layer = LayerLags("layer 1", sums, ones, np.diag(sums), np.diag(ones))
    assert layer.reach == 1
    assert LayerLags("layer 1", ones, ones, np.diag(ones), np.diag(ones)).reach == 3
    assert LayerLags("layer 1", 0 * ones, ones, np.diag(ones), np.diag(ones)).reach == 3


def test_texts_of_other_lengths_add_up() -> None:
    module, x = _module(nn.RNN, 1, False), _input()
    short = lags_of_module(module, x[:2], lambda y: y.sum())
    whole = lags_of_module(module, x, lambda y: y.sum())
    wanted = short.layers[0].sums[1] + whole.layers[0].sums[1]
    short.add(whole)
    assert short.layers[0].sums[1] == pytest.approx(wanted)
    assert short.layers[0].heat.shape == (T, T)


REFUSED = [
    (nn.Linear(E, H), lambda y: y.sum(), "a Linear has no recurrent layers, allowed"),
    (nn.LSTM(E, H, proj_size=2), lambda y: y.sum(), r"projections \(proj_size is 2\)"),
    (nn.RNN(E, H), lambda y: y, r"the loss has 90 numbers, one is needed"),
    (nn.RNN(E, H), lambda y: torch.zeros(()), "the loss does not depend on the outputs"),
    (nn.RNN(E, H), lambda y: torch.zeros((), requires_grad=True), "the loss does not depend"),
]


@pytest.mark.parametrize(("module", "loss", "message"), REFUSED)
def test_what_cannot_be_looked_into_is_refused(module: nn.Module, loss: Any, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        lags_of_module(module, _input().float(), loss)


def test_nothing_to_predict_and_weights_of_both_directions_are_refused() -> None:
    net = small_model(cell="elman").net
    words = torch.ones(T, B, dtype=torch.int64)
    with pytest.raises(SettingError, match="there is no word to predict in these steps"):
        trace_net(net, words, -words)
    with pytest.raises(SettingError, match="supported only for unidirectional nets"):
        lags_of_module(_module(nn.RNN, 1, True), _input(), lambda y: y.sum(), weights=True)
    assert torch.is_grad_enabled()
