"""A model as the bytes of its file, for pickles and archives that hold it whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

from unrolled.storage.loading import StoredModel, load
from unrolled.storage.model_file import write_model

_NAME = "model.safetensors"


def model_bytes(model: StoredModel) -> bytes:
    """What the model's file would hold; reading it executes nothing."""
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder) / _NAME, **model.contents())
        return (Path(folder) / _NAME).read_bytes()


def model_of_bytes(data: bytes) -> StoredModel:
    """The model of these bytes; it has no path.

    Raises:
        FormatError: they are not a model.
    """
    # Windows does not remove a file that is still mapped.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / _NAME
        path.write_bytes(data)
        model = load(path)
    model.path = None
    return model
