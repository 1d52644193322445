"""Conditions such as ``perplexity < 800 and oov / tokens <= 0.2``, read and never executed.

A condition has names of fields, numbers, ``+ - * /``, comparisons, which may be chained, ``and``,
``or``, ``not`` and brackets, with the meaning and the precedence that they have in Python. Python's
parser makes a tree of it, and only nodes of these kinds are walked.
"""

from __future__ import annotations

import ast
import operator
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from unrolled.errors import SettingError

Array = np.ndarray[Any, Any]

_LONGEST = 1000  # characters; so no tree is too deep to walk
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.divide,
}
_ALLOWED = "names, numbers, + - * /, < <= > >= == !=, and, or, not and brackets"


class Condition:
    """A condition on the fields of documents.

    Args:
        text: such as ``perplexity < 800 and oov == 0``.
        names: of the fields.

    Raises:
        SettingError: it cannot be read, or has a name that is no field.

    >>> keep = Condition("100 <= perplexity < 800 or not tokens > 2", ["perplexity", "tokens"])
    >>> keep({"perplexity": np.array([50.0, 500, 900, 900]), "tokens": np.array([9.0, 9, 9, 2])})
    array([False,  True, False,  True])
    """

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self._text, self._names = text, list(names)
        if len(text) > _LONGEST:
            raise self._error(f"it has {len(text)} characters, allowed are {_LONGEST}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # such as of `800and`, which is read as it should
                tree = ast.parse(text.strip(), mode="eval").body
            self._check(tree, truth=True)
        except SettingError:
            raise
        except SyntaxError as error:
            column = f" at column {error.offset}" if error.offset else ""
            raise self._error(f"it cannot be read{column}") from None
        except (ValueError, OverflowError, MemoryError, RecursionError):
            raise self._error("it cannot be read") from None
        self._tree = tree

    def __call__(self, fields: Mapping[str, Array]) -> Array:
        """Where it is true, (N,) bool, of fields (N,); a division by zero gives an infinity."""
        with np.errstate(divide="ignore", invalid="ignore"):
            size = next(iter(fields.values())).size
            return np.broadcast_to(np.asarray(_value(self._tree, fields), bool), size).copy()

    def _error(self, what: str, hint: str = f"It may have {_ALLOWED}") -> SettingError:
        shown = self._text if len(self._text) <= 80 else self._text[:77] + "..."
        return SettingError(f"the condition {shown!r} is wrong: {what}", hint=hint)

    def _check(self, node: ast.expr, *, truth: bool) -> None:
        """Refuse what is not allowed, and a number where something true or false is needed."""
        match node:
            case ast.BoolOp(values=values):
                self._require(truth, node)
                for value in values:
                    self._check(value, truth=True)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                self._require(truth, node)
                self._check(operand, truth=True)
            case ast.Compare(left=left, ops=ops, comparators=others):
                self._require(truth, node)
                if any(type(op) not in _COMPARISONS for op in ops):
                    raise self._error(f"{self._shown(node)} is not allowed")
                for value in (left, *others):
                    self._check(value, truth=False)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                self._require(not truth, node)
                self._check(left, truth=False)
                self._check(right, truth=False)
            case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
                self._require(not truth, node)
                self._check(operand, truth=False)
            case ast.Constant(value=int(value) | float(value)) if type(value) is not bool:
                self._require(not truth, node)
                float(value)  # which overflows for an integer of 400 digits
            case ast.Name(id=name):
                self._require(not truth, node)
                if name not in self._names:
                    raise self._error(
                        f"there is no field {name}", hint=f"There are {', '.join(self._names)}"
                    )
            case _:
                raise self._error(f"{self._shown(node)} is not allowed")

    def _require(self, fits: bool, node: ast.expr) -> None:
        if not fits:
            raise self._error(
                f"{self._shown(node)} is a number where a comparison is needed, or the reverse"
            )

    def _shown(self, node: ast.expr) -> str:
        return repr(ast.get_source_segment(self._text.strip(), node) or type(node).__name__)


def _value(node: Any, fields: Mapping[str, Array]) -> Any:
    """The value of a tree that was checked."""
    match node:
        case ast.BoolOp(op=op, values=values):
            both = np.logical_and if type(op) is ast.And else np.logical_or
            return reduce(both, (_value(value, fields) for value in values))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return np.logical_not(_value(operand, fields))
        case ast.UnaryOp(op=sign, operand=operand):
            value = _value(operand, fields)
            return -value if type(sign) is ast.USub else value
        case ast.Compare(left=left, ops=ops, comparators=others):
            values = [_value(value, fields) for value in (left, *others)]
            pairs = zip(ops, values, values[1:], strict=False)
            return reduce(np.logical_and, (_COMPARISONS[type(op)](a, b) for op, a, b in pairs))
        case ast.BinOp(left=left, op=op, right=right):
            return _ARITHMETIC[type(op)](_value(left, fields), _value(right, fields))
        case ast.Constant(value=int(value) | float(value)):
            return float(value)
        case _:
            return fields[node.id]
