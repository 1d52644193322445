"""An ONNX graph that is built node by node, and the file that it is written to."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from unrolled.errors import MissingExtraError, SettingError
from unrolled.storage.atomic import atomic_write

Array = np.ndarray[Any, Any]

OPSET, IR_VERSION = 18, 8  # of ONNX 1.13, 2022: the first whose ScatterElements takes a maximum
MAX_BYTES = (1 << 31) - (64 << 20)  # an ONNX file is one Protocol Buffer of at most 2 GiB


class Graph:
    """Nodes and constants in their order, each result under a name of its own.

    Args:
        net: whose parameters the graph takes. doc: the graph's documentation.

    Raises:
        MissingExtraError: the package onnx is not installed.
        SettingError: the parameters are too large for one file.
    """

    def __init__(self, net: nn.Module, doc: str | None) -> None:
        try:
            import onnx
        except ImportError:
            raise MissingExtraError("onnx", "onnx") from None
        size = sum(4 * parameter.numel() for parameter in net.parameters())
        if size > MAX_BYTES:
            raise SettingError(
                f"the net's parameters take {size:,} bytes, an ONNX file at most {MAX_BYTES:,}"
            )
        self._onnx, self._doc = onnx, doc
        self._names = {id(value): name for name, value in net.named_parameters()}
        self._used: set[int] = set()
        self._written: set[str] = set()
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """One node; returns the name of its result, or a list of them if they are several."""
        names = [f"{kind.lower()}{len(self._nodes)}_{k}" for k in range(outputs)]
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, names, **attributes))
        return names if outputs > 1 else names[0]

    def parameter(self, value: Tensor) -> str:
        """A parameter of the net, written once however often it is used."""
        name = self._names[id(value)]
        if name not in self._written:
            self.constant(self.values(value), name)
        return name

    def values(self, value: Tensor) -> Array:
        """A parameter as an array, for a constant that is made from it."""
        self._used.add(id(value))
        array: Array = value.detach().float().cpu().contiguous().numpy()
        return array

    def constant(self, array: Array, name: str | None = None) -> str:
        """Numbers that are part of the file."""
        name = name or f"constant{len(self._written)}"
        self._constants.append(self._onnx.numpy_helper.from_array(np.asarray(array), name))
        self._written.add(name)
        return name

    def linear(self, x: str, weight: str, bias: str | None = None) -> str:
        """x W^T + b."""
        given = [x, weight] if bias is None else [x, weight, bias]
        result: str = self.add("Gemm", *given, transB=1)
        return result

    def constant_of_shape(self, shape: str, value: float) -> str:
        """A tensor full of one number."""
        full = self._onnx.helper.make_tensor("value", self._onnx.TensorProto.FLOAT, [1], [value])
        result: str = self.add("ConstantOfShape", shape, value=full)
        return result

    def input(self, name: str, kind: str, *shape: str | int) -> str:
        """Something that is fed; a string in its shape is a length that may be any."""
        self._inputs.append(self._described(name, kind, shape))
        return name

    def output(self, given: str, name: str, kind: str, *shape: str | int) -> None:
        """Hand a result out under a name."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [given], [name]))
        self._outputs.append(self._described(name, kind, shape))

    def _described(self, name: str, kind: str, shape: tuple[str | int, ...]) -> Any:
        element = getattr(self._onnx.TensorProto, kind)
        return self._onnx.helper.make_tensor_value_info(name, element, shape)

    def model(self, name: str, metadata: Mapping[str, Any]) -> Any:
        """The finished graph as an ``onnx.ModelProto``; metadata are written as JSON.

        Raises:
            SettingError: the net has parameters that no node uses: the graph would compute
                something else.
        """
        left = [name for number, name in self._names.items() if number not in self._used]
        if left:
            raise SettingError(f"a net with {', '.join(left)} cannot be written as ONNX")
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, self._constants, doc_string=self._doc
        )
        opsets = [helper.make_opsetid("", OPSET)]
        proto = helper.make_model(graph, opset_imports=opsets, producer_name="unrolled")
        proto.ir_version = IR_VERSION
        texts = {key: json.dumps(value, ensure_ascii=False) for key, value in metadata.items()}
        helper.set_model_props(proto, texts)
        self._onnx.checker.check_model(proto)
        return proto


def write_onnx(proto: Any, path: str | os.PathLike[str]) -> None:
    """Write an ``onnx.ModelProto``; nothing is left behind when that fails."""
    data = proto.SerializeToString()
    with atomic_write(path, compress=False, size=len(data)) as file:
        file.write(data)
