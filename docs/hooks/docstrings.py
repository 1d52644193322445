"""What the API pages need that docstrings do not have in the form of Markdown."""

from __future__ import annotations

import re
from typing import Any

import griffe

# From a prompt to the next blank line.
_DOCTEST = re.compile(r"^( *)>>> .*(?:\n(?! *$).*)*", re.MULTILINE)
# `a, b: ...` under Args.
_SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+): ((?:.*)(?:\n\1 +\S.*)*)", re.MULTILINE)
# `As other_function.` under Raises.
_LIKEWISE = re.compile(r"^( *Raises:\n +)As (?=`)", re.MULTILINE)


class Docstrings(griffe.Extension):
    """Puts a fence around each doctest, which Markdown would take for a quotation in a quotation.

    Arguments that are described together get a row each in the table of arguments.
    """

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called for the package once: `load` is typed in one file and described in another."""
        pkg["load"].docstring = pkg["storage.loading.load"].docstring

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called for every module, class, function and attribute that has been read."""
        if obj.docstring is not None:
            fenced = _DOCTEST.sub(_fenced, obj.docstring.value)
            likewise = _LIKEWISE.sub(r"\1UnrolledError: as ", fenced)
            obj.docstring.value = _SEVERAL.sub(_one_by_one, likewise)


def _fenced(match: re.Match[str]) -> str:
    indent, text = match[1], match[0]
    return f"{indent}```pycon\n{text}\n{indent}```"


def _one_by_one(match: re.Match[str]) -> str:
    indent, names, text = match.groups()
    return "\n".join(f"{indent}{name}: {text}" for name in names.split(", "))
