"""``unrolled serve``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from unrolled.cli.settings_options import with_settings
from unrolled.server.settings import ServerSettings

_SHOWN = (
    "host", "port", "workers", "threads", "cors", "token_file", "queue", "connections", "max_body",
    "max_sentences", "max_sentence", "max_tokens", "max_words", "time_limit", "grace", "reload",
)  # fmt: skip


@with_settings(None, (ServerSettings,), _SHOWN)
def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Model files of any kind; NAME=PATH gives one another name than its file's.",
            show_default=False,
        ),
    ],
    settings: dict[str, Any],
) -> None:
    """Serve models over HTTP, with a page for the browser (extra `server`).

    It listens on this machine only, unless --host names another address. Paths: /score, /surprisal,
    /predict, /generate, /rank, /tag, /rescore, /gradients, /models, /v1/completions, /health and
    /metrics; /openapi.json describes them. SIGTERM or Ctrl-C ends it once running requests have
    been answered. A model whose file is replaced is loaded again.

    Examples:

        unrolled serve news.safetensors lstm.safetensors --port 8000

        curl -H "Content-Type: application/json" -d "{\\"sentence\\": \\"the cat sat\\"}"
        http://127.0.0.1:8000/score
    """
    from unrolled.cli.signals import signals_released
    from unrolled.server.serving import serve as run

    with signals_released():
        run(models, **settings)
