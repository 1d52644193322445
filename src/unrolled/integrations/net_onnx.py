"""A net as an ONNX graph of one time step, to run where there is no Python and no torch.

The graph reads one word of each of B texts, and gives the log-probabilities of the next word:

inputs    ``word`` (batch,) int64 ids, ``<s>`` before the first word of a sentence;
          the state before it: ``h0``, ``h1``, ... (batch, hidden), one a layer, and ``c0``, ``c1``,
          ... of an LSTM; of a feed-forward net ``before`` (batch, order - 2) int64, the words
          before this one, oldest first, unless it is a bigram net, which has no state
outputs   ``log_probs`` (batch, vocabulary) natural logarithms, -inf at ``<s>``;
          the state after the word: ``next_h0``, ``next_c0``, ... or ``next_before``

The metadata of the file hold, each as JSON, all that it takes to feed the graph: ``vocabulary``,
the words in the order of their ids; ``start``, for each state the row that every text begins with;
``text``, how text is cut into tokens (see `TextOptions`); ``unknown``, ``begin`` and ``end``, the
ids of ``<unk>``, ``<s>`` and ``</s>``; ``reset_state_per_sentence``, whether the state is
reset at each sentence or carried on; and the ``name`` of the model. ``</s>`` is predicted, never
read.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from unrolled.errors import SettingError
from unrolled.integrations.onnx_graph import Graph, write_onnx
from unrolled.neural.cells import Cell
from unrolled.neural.model import NeuralModel
from unrolled.neural.net import FeedForwardNet, Net, RecurrentNet
from unrolled.neural.output_layers import (
    AdaptiveSoftmax,
    ClassFactoredSoftmax,
    FullSoftmax,
    OutputLayer,
)
from unrolled.storage.loading import StoredModel, require_kind
from unrolled.text.vocabulary import BOS, EOS, UNK


def export_onnx(model: StoredModel, path: str | os.PathLike[str]) -> None:
    """Write a net as an ONNX file whose inputs, outputs and metadata are described above.

    Args:
        model: a `NeuralModel`.
        path: where to write; nothing is left behind when that fails.

    Raises:
        MissingExtraError: the package onnx is not installed.
        SettingError: the model is no net, has a part that no graph can be made of, or is too
            large for one file.
    """
    write_onnx(onnx_model(model), path)


def onnx_model(model: StoredModel) -> Any:
    """The same as an ``onnx.ModelProto``."""
    model = require_kind(model, NeuralModel, "the ONNX graph of one step")
    graph = Graph(model.net, __doc__)
    _write_step(graph, model.net, len(model.vocabulary))
    return graph.model(model.name, _metadata(model))


def _metadata(model: NeuralModel) -> dict[str, Any]:
    states = [name for name, _, _ in _states(model.net)]
    rows = [row[0].tolist() for row in model.net.begin(1)]
    return {
        "name": model.name,
        "vocabulary": list(model.vocabulary),
        "start": dict(zip(states, rows, strict=False)),  # a bigram net's only state is empty
        "text": model.config.get("text", {}),
        "unknown": UNK,
        "begin": BOS,
        "end": EOS,
        "reset_state_per_sentence": model.net.config.reset_state_per_sentence,
    }


def _states(net: Net) -> list[tuple[str, str, int]]:
    """Name, element type and width of each tensor of a state."""
    config = net.config
    if isinstance(net, FeedForwardNet):
        return [("before", "INT64", config.order - 2)] if config.order > 2 else []
    parts = "hc" if config.cell == "lstm" else "h"
    return [
        (f"{part}{layer}", "FLOAT", config.hidden)
        for layer in range(config.layers)
        for part in parts
    ]


def _write_step(graph: Graph, net: Net, size: int) -> None:
    """From a word and a state to the distribution of the next word and the state after it."""
    word = graph.input("word", "INT64", "batch")
    states = _states(net)
    before = [graph.input(name, kind, "batch", width) for name, kind, width in states]
    x = graph.add("Gather", graph.parameter(net.vectors), word)  # (B, E)
    if isinstance(net, FeedForwardNet):
        h, after = _feed_forward(graph, net, x, word, before)
    elif isinstance(net, RecurrentNet):
        h, after = _recurrent(graph, net, x, before)
    else:
        raise SettingError(f"a {type(net).__name__} cannot be written as ONNX")
    if net.projection is not None:
        h = graph.linear(h, graph.parameter(net.projection.weight))
    graph.output(_log_probs(graph, net.output, h), "log_probs", "FLOAT", "batch", size)
    for result, (name, kind, width) in zip(after, states, strict=True):
        graph.output(result, f"next_{name}", kind, "batch", width)


def _recurrent(graph: Graph, net: RecurrentNet, x: str, before: list[str]) -> tuple[str, list[str]]:
    """`RecurrentNet.body` for one step: (B, H), and the state after it."""
    after: list[str] = []
    if net.start is not None:
        graph.values(net.start)  # it is in the metadata
    for number, cell in enumerate(net.layers):
        assert isinstance(cell, Cell)
        given = before[number * net.per_layer : (number + 1) * net.per_layer]
        state = _cell_step(graph, cell, x, given)
        x = graph.add("Add", x, state[0]) if net.config.residual and number > 0 else state[0]
        after += state
    return x, after


def _cell_step(graph: Graph, cell: Cell, x: str, state: list[str]) -> list[str]:
    """`Cell.step`, node by node."""
    add = graph.add
    from_x = graph.linear(x, graph.parameter(cell.input_weight), graph.parameter(cell.bias))
    from_h = graph.linear(state[0], graph.parameter(cell.state_weight))
    if cell.kind == "gru":
        assert cell.state_bias is not None
        reset_x, update_x, new_x = add("Split", from_x, outputs=3, axis=-1, num_outputs=3)
        reset_h, update_h, new_h = add("Split", from_h, outputs=3, axis=-1, num_outputs=3)
        reset = add("Sigmoid", add("Add", reset_x, reset_h))
        update = add("Sigmoid", add("Add", update_x, update_h))
        gated = add("Mul", reset, add("Add", new_h, graph.parameter(cell.state_bias)))
        new = add("Tanh", add("Add", new_x, gated))
        return [add("Add", new, add("Mul", update, add("Sub", state[0], new)))]
    total = add("Add", from_x, from_h)
    if cell.kind == "lstm":
        enter, forget, new, out = add("Split", total, outputs=4, axis=-1, num_outputs=4)
        remembered = add("Mul", add("Sigmoid", forget), state[1])
        c = add("Add", remembered, add("Mul", add("Sigmoid", enter), add("Tanh", new)))
        return [add("Mul", add("Sigmoid", out), add("Tanh", c)), c]
    return [add(_operator(cell.nonlinearity), total)]


def _feed_forward(
    graph: Graph, net: FeedForwardNet, x: str, word: str, before: list[str]
) -> tuple[str, list[str]]:
    """`FeedForwardNet.body` for one step: (B, H), and the words before the next one."""
    add, context = graph.add, net.config.order - 2
    after: list[str] = []
    if before:
        vectors = add("Gather", graph.parameter(net.vectors), before[0])  # (B, n - 2, E)
        row = graph.constant(np.array([0, context * net.config.width], np.int64))
        x = add("Concat", add("Reshape", vectors, row), x, axis=-1)
        column = add("Unsqueeze", word, graph.constant(np.array([1])))
        seen = add("Concat", before[0], column, axis=1)
        first, last = graph.constant(np.array([1])), graph.constant(np.array([context + 1]))
        after = [add("Slice", seen, first, last, graph.constant(np.array([1])))]
    weight, bias = graph.parameter(net.hidden.weight), graph.parameter(net.hidden.bias)
    total = graph.linear(x, weight, bias)
    return add(_operator(net.config.nonlinearity), total), after


def _log_probs(graph: Graph, layer: OutputLayer, h: str) -> str:
    """`OutputLayer.distribution`, (B, V)."""
    if layer.max_ent is not None:
        raise SettingError("a net with n-gram features (maxent_size) cannot be written as ONNX")
    if isinstance(layer, ClassFactoredSoftmax):
        return _by_classes(graph, layer, h)
    if isinstance(layer, FullSoftmax):
        result: str = graph.add("LogSoftmax", _word_scores(graph, layer, h), axis=-1)
        return result
    if isinstance(layer, AdaptiveSoftmax):
        return _adaptive(graph, layer, h)
    raise SettingError(f"the output {type(layer).__name__} cannot be written as ONNX")


def _word_scores(graph: Graph, layer: FullSoftmax | ClassFactoredSoftmax, h: str) -> str:
    bias = graph.values(layer.bias) + layer.forbidden.float().cpu().numpy()
    return graph.linear(h, graph.parameter(layer.weight), graph.constant(bias))


def _by_classes(graph: Graph, layer: ClassFactoredSoftmax, h: str) -> str:
    """log p(c | h) + s(w) - log of the sum of exp s over the words of c, all classes at once."""
    add = graph.add
    weight, bias = graph.parameter(layer.class_weight), graph.parameter(layer.class_bias)
    of_class = add("LogSoftmax", graph.linear(h, weight, bias), axis=-1)  # (B, C)
    scores = _word_scores(graph, layer, h)  # (B, V)
    class_of = graph.constant(layer.class_of.cpu().numpy())  # (V,)
    places = add("Expand", class_of, add("Shape", scores))  # the class of each score
    shape = add("Shape", of_class)

    def gathered(values: str, start: float, reduction: str) -> str:
        """The maximum or sum of each class's words, (B, C)."""
        value = graph.constant_of_shape(shape, start)
        result: str = add("ScatterElements", value, places, values, axis=1, reduction=reduction)
        return result

    # Every class has a maximum of its own: against that of all words its sum could underflow.
    top = gathered(scores, -np.inf, "max")
    exps = add("Exp", add("Sub", scores, add("Gather", top, class_of, axis=1)))
    total = add("Add", top, add("Log", gathered(exps, 0.0, "add")))
    change = add("Sub", of_class, total)
    result: str = add("Add", scores, add("Gather", change, class_of, axis=1))
    return result


def _adaptive(graph: Graph, layer: AdaptiveSoftmax, h: str) -> str:
    """Frequent words and clusters in one softmax, the words of each cluster in another."""
    add, inner = graph.add, layer.layer
    weight, bias = graph.parameter(inner.head.weight), graph.parameter(inner.head.bias)
    head = add("LogSoftmax", graph.linear(h, weight, bias), axis=-1)
    clusters = len(inner.tail)
    sizes = graph.constant(np.array([inner.shortlist_size, *[1] * clusters]))
    first, *of_clusters = add("Split", head, sizes, outputs=1 + clusters, axis=-1)
    parts = [first]
    tails: Any = inner.tail
    for tail, of_cluster in zip(tails, of_clusters, strict=True):
        low, high = (graph.parameter(matrix.weight) for matrix in tail)
        scores = graph.linear(graph.linear(h, low), high)
        parts.append(add("Add", add("LogSoftmax", scores, axis=-1), of_cluster))
    found = add("Concat", *parts, axis=-1)  # (B, V - 1): without <s>, which gets a column here
    size = inner.n_classes + 1
    numbers = np.arange(size)
    columns = graph.constant(numbers - (numbers >= BOS))
    forbidden = np.where(numbers == BOS, -np.inf, 0).astype(np.float32)
    spread = add("Gather", found, columns, axis=1)
    result: str = add("Add", spread, graph.constant(forbidden))
    return result


def _operator(nonlinearity: str) -> str:
    """What ONNX calls it."""
    return "Identity" if nonlinearity == "linear" else nonlinearity.capitalize()
