"""The page of commands: what ``unrolled COMMAND --help`` prints, for every command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from unrolled.cli.app import parser

MARK = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for each page before it is rendered."""
    if MARK not in markdown:
        return markdown
    parts = (f"## unrolled {name}\n\n```text\n{text}\n```\n" for name, text in _help_pages())
    return markdown.replace(MARK, "\n".join(parts))


def _help_pages() -> Iterator[tuple[str, str]]:
    root = typer.main.get_command(parser())
    context = typer.Context(root, info_name="unrolled", help_option_names=["-h", "--help"])
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        own = typer.Context(command, info_name=name, parent=context)
        for below, one in (inner or {"": command}).items():
            at = typer.Context(one, info_name=below, parent=own) if inner else own
            at.max_content_width = at.terminal_width = 100
            yield f"{name} {below}".strip(), one.get_help(at)
