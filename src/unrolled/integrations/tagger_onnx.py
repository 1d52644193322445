"""A tagger as an ONNX graph over one sentence, to run where there is no Python and no torch.

The graph gives the scores of the tags of every word; a softmax tagger's best tags are the largest,
and for a CRF the metadata hold the transitions that Viterbi's algorithm adds to them.

inputs    ``words`` (T,) int64 ids, 0 for unknown words; ``casing`` (T,) int64, how a word is
          written (see `features.shape_of`), if the tagger reads that; ``characters`` (T, L)
          int64, if it reads them: the ids of each word's characters from the left, then -1;
          ``column0`` ... (T,) int64, of further columns
outputs   ``scores`` (T, tags) float32

The metadata hold, each as JSON: ``vocabulary``, the words in the order of their ids, with ``case``
and ``digits``, the policy by which a word is looked up; ``characters``, those with ids from 2 on
(1: all others); ``column_values``, with ids from 1 on (0: all others); ``tags`` with ``tag_scheme``
and ``output_scheme``; and of a CRF ``transitions`` (from, to), ``start`` and ``end``, where null is
minus infinity: not allowed.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unrolled.errors import SettingError
from unrolled.integrations.onnx_graph import Graph, write_onnx
from unrolled.neural.cells import Cell
from unrolled.storage.loading import require_kind
from unrolled.tagging.model import Tagger
from unrolled.tagging.net.characters import CharacterCNN
from unrolled.tagging.net.stack import Layer
from unrolled.tagging.neural_tagger import NeuralTagger

Array = np.ndarray[Any, Any]

# The order of gates in ONNX, by their numbers in `Cell`: i, o, f, g and z, r, n.
_GATES = {"lstm": (0, 3, 1, 2), "gru": (1, 0, 2), "elman": (0,), "irnn": (0,)}
_OPERATORS = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN", "irnn": "RNN"}


def export_tagger(tagger: Tagger, path: str | os.PathLike[str]) -> None:
    """Write a tagger as an ONNX file whose inputs, outputs and metadata are described above.

    Raises:
        MissingExtraError: the package onnx is not installed.
        SettingError: the tagger has a part that no graph can be made of.
    """
    write_onnx(tagger_graph(tagger), path)


def tagger_graph(tagger: Tagger) -> Any:
    """The same as an ``onnx.ModelProto``."""
    of_net = require_kind(tagger, NeuralTagger, "the ONNX graph of a tagger")
    graph = Graph(of_net.net, __doc__)
    _write(graph, of_net)
    return graph.model(of_net.name, _metadata(graph, of_net))


def _write(graph: Graph, tagger: NeuralTagger) -> None:
    """From the features of each word to scores."""
    net = tagger.net
    if tagger.language is not None:
        raise SettingError("a tagger with a language model cannot be written as ONNX")
    parts = [_vectors(graph, tagger)]
    if net.characters is not None:
        if not isinstance(net.characters, CharacterCNN):
            raise SettingError(
                "a tagger with an RNN of characters cannot be written as ONNX",
                hint="Train it with characters=cnn",
            )
        parts.append(_characters(graph, net.characters))
    if net.shapes is not None:
        shapes = graph.input("casing", "INT64", "words")
        parts.append(graph.add("Gather", graph.parameter(net.shapes), shapes))
    for number, table in enumerate(net.columns):
        column = graph.input(f"column{number}", "INT64", "words")
        parts.append(graph.add("Gather", graph.parameter(table), column))
    x = graph.add("Concat", *parts, axis=1)  # (T, D)
    one = graph.constant(np.array([1]))
    outputs: list[str] = []
    for layer in net.stack.layers:
        assert isinstance(layer, Layer)
        x = _layer(graph, layer, x, one)
        outputs.append(x)
    if net.stack.read == "all" and len(outputs) > 1:
        x = graph.add("Concat", *outputs, axis=1)
    scores = graph.linear(x, graph.parameter(net.output.weight), graph.parameter(net.output.bias))
    if net.summary is not None:
        largest = graph.add("ReduceMax", x, graph.constant(np.array([0])), keepdims=1)
        of_sentence = graph.linear(largest, graph.parameter(net.summary.weight))
        scores = graph.add("Add", scores, of_sentence)
    graph.output(scores, "scores", "FLOAT", "words", len(tagger.tags))


def _vectors(graph: Graph, tagger: NeuralTagger) -> str:
    """(T, E): rows of one of two tables, the second of half precision."""
    words = graph.input("words", "INT64", "words")
    table = tagger.vectors
    trained = graph.constant(np.ascontiguousarray(table.trained), "vectors_trained")
    if not len(table.given):
        result: str = graph.add("Gather", trained, words)
        return result
    given = graph.constant(np.ascontiguousarray(table.given), "vectors_given")
    size = graph.constant(np.array(len(table.trained)))
    own = graph.add("Less", words, size)
    zero = graph.constant(np.array(0))
    first = graph.add("Gather", trained, graph.add("Where", own, words, zero))
    later = graph.add("Where", own, zero, graph.add("Sub", words, size))
    second = graph.add("Cast", graph.add("Gather", given, later), to=1)
    column = graph.add("Unsqueeze", own, graph.constant(np.array([1])))
    result = graph.add("Where", column, first, second)
    return str(result)


def _characters(graph: Graph, cnn: CharacterCNN) -> str:
    """(T, F): the largest value of each filter, -1 being no character."""
    add = graph.add
    given = graph.input("characters", "INT64", "words", "letters")
    zero = graph.constant(np.array(0))
    real = add("GreaterOrEqual", given, zero)
    ids = add("Where", real, given, zero)  # what follows a word is a border
    x = add("Transpose", add("Gather", graph.parameter(cnn.vectors), ids), perm=[0, 2, 1])
    border = graph.values(cnn.vectors)[0]
    edge = graph.constant(np.repeat(border[None, :, None], max(cnn.borders, 1), 2))
    if cnn.borders:  # the vector of a border is not zero, so that padding cannot replace it
        sizes = add("Shape", x)
        first = add("Slice", sizes, graph.constant(np.array([0])), graph.constant(np.array([1])))
        shape = add("Concat", first, graph.constant(np.array([1, 1])), axis=0)
        edges = add("Expand", edge, shape)
        x = add("Concat", edges, x, edges, axis=2)
    weight = graph.values(cnn.weight).transpose(2, 1, 0)  # (F, C, window)
    bias = graph.parameter(cnn.bias)
    y = add("Conv", x, graph.constant(np.ascontiguousarray(weight)), bias)  # (T, F, L)
    mask = add("Unsqueeze", real, graph.constant(np.array([1])))
    lowest = graph.constant(np.array(np.finfo(np.float32).min))
    masked = add("Where", mask, y, lowest)
    result: str = add("ReduceMax", masked, graph.constant(np.array([2])), keepdims=0)
    return result


def _layer(graph: Graph, layer: Layer, x: str, one: str) -> str:
    """Both directions of a layer by ONNX's own operator: (T, 2 H)."""
    add = graph.add
    cells = [layer.left, layer.right]
    kind, hidden = layer.left.kind, layer.left.hidden
    weights = [
        graph.constant(np.stack([_gates(part(cell), kind) for cell in cells]))
        for part in (
            lambda cell: graph.values(cell.input_weight),
            lambda cell: graph.values(cell.state_weight),
            lambda cell: _biases(graph, cell),
        )
    ]
    attributes: dict[str, Any] = {"direction": "bidirectional", "hidden_size": hidden}
    if kind == "gru":
        attributes["linear_before_reset"] = 1
    if _OPERATORS[kind] == "RNN":
        name = layer.left.nonlinearity
        if name == "linear":
            raise SettingError("cells without a nonlinearity cannot be written as ONNX")
        attributes["activations"] = [name.capitalize()] * 2
    batch = add("Unsqueeze", x, one)  # (T, 1, E)
    y = add(_OPERATORS[kind], batch, *weights, outputs=1, **attributes)  # (T, 2, 1, H)
    flat = graph.constant(np.array([0, 2 * hidden]))
    result: str = add("Reshape", add("Squeeze", y, graph.constant(np.array([2]))), flat)
    return result


def _biases(graph: Graph, cell: Cell) -> Array:
    """(G H, 2): of the input, and of the state."""
    bias = graph.values(cell.bias)
    second = np.zeros_like(bias)
    if cell.state_bias is not None:
        second[2 * cell.hidden :] = graph.values(cell.state_bias)
    return np.stack([bias, second], 1)


def _gates(array: Array, kind: str) -> Array:
    """Rows (G H, ...) with the gates in ONNX's order; two biases end up end to end."""
    order = _GATES[kind]
    parts = np.split(array, len(order))
    ordered = np.concatenate([parts[number] for number in order])
    return ordered if array.shape[1] != 2 else np.ascontiguousarray(ordered.T).reshape(-1)


def _metadata(graph: Graph, tagger: NeuralTagger) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": tagger.name,
        "vocabulary": list(tagger.lexicon.vocabulary),
        "case": tagger.config.case,
        "digits": tagger.config.normalise_digits,
        "characters": list(tagger.characters),
        "column_values": tagger.columns.values,
        "tags": tagger.tags.names,
        "tag_scheme": tagger.tags.scheme,
        "output_scheme": tagger.tags.output_scheme,
    }
    crf = tagger.net.crf
    if crf is not None:
        for parameter in crf.parameters():
            graph.values(parameter)  # it is in the metadata
        names = ("transitions", "start", "end")
        with torch.no_grad():
            values |= dict(zip(names, map(_plain, crf.scores()), strict=True))
    return values


def _plain(scores: Tensor) -> list[Any]:
    """Numbers for JSON, which has no infinity."""
    if scores.dim() > 1:
        return [_plain(row) for row in scores]
    return [None if value == -np.inf else value for value in scores.tolist()]
