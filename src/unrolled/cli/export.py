"""``unrolled export``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from unrolled.cli.outputs import check_output

# Kind of model -> the module and the function that write it.
_EXPORTERS = {
    "net": ("unrolled.integrations.net_onnx", "export_onnx"),
    "tagger": ("unrolled.integrations.tagger_onnx", "export_tagger"),
}


def export(
    model: Annotated[
        str, typer.Argument(help="A net or tagger (.safetensors).", show_default=False)
    ],
    output: Annotated[Path, typer.Argument(help="The .onnx file to write.", show_default=False)],
) -> None:
    """Write a net or a tagger as ONNX, to run without Python and torch (extra `onnx`).

    The graph of a language model is one time step. It takes `word`, the ids of B words, and the
    state before them: `h0`, `h1`, ... of each layer (and `c0`, `c1`, ... of an LSTM; `before` of a
    feed-forward net). It gives `log_probs`, natural logarithms for the whole vocabulary, and the
    state after them, `next_h0` and so on. The file's metadata hold the vocabulary and the state
    that texts begin with, as JSON.

    The graph of a tagger takes a sentence: `words`, and `casing`, `characters` and `column0` ...
    if it reads them, and gives `scores`, of each tag for each word; the metadata hold what turns
    words into ids, and the transitions of a CRF.

    Examples:

        unrolled export lstm.safetensors lstm.onnx

        unrolled export names.safetensors names.onnx
    """
    from unrolled.errors import SettingError
    from unrolled.storage.loading import load

    check_output(output, model)
    opened = load(model)
    if opened.kind not in _EXPORTERS:  # checked first, as the exporters need torch
        raise SettingError(
            f"only nets and taggers of one net can be written as ONNX, and {opened.name} is "
            f"{opened.kind_name}",
            where=model,
        )
    module, name = _EXPORTERS[opened.kind]
    getattr(import_module(module), name)(opened, output)
