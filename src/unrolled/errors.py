"""Every error that a user can cause: one sentence on where, what is wrong, and what to do."""

from __future__ import annotations


class UnrolledError(Exception):
    """The base of all errors raised on purpose.

    Args:
        what: what is wrong, with the value given and what is allowed, without a final full stop.
        where: the place, such as ``corpus.txt:17``; it leads the sentence.
        hint: what to do about it.

    >>> print(UnrolledError("order is 0, allowed are 1 to 64", where="--order", hint="Try 5"))
    --order: order is 0, allowed are 1 to 64. Try 5.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        parts = [part.rstrip(".") + "." for part in (self.what, self.hint) if part]
        sentence = " ".join(parts)
        if self.hint is None:
            sentence = sentence.rstrip(".")
        if self.where is not None:
            sentence = f"{self.where}: {sentence}"
        return " ".join(sentence.split())  # one line, whatever a library's message held

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle by args alone; errors cross process borders with all three parts.
        return _rebuild, (type(self), self.what, self.where, self.hint)


class TextError(UnrolledError):
    """The text that the user gave cannot be read or used."""


class FormatError(UnrolledError):
    """A model, ARPA or count file is broken or of another kind."""


class SettingError(UnrolledError, ValueError):
    """An option or argument has a value that is not allowed."""


class NotNormalisedError(UnrolledError):
    """A probability was asked of a model whose scores are not probabilities (stupid back-off)."""


class DivergedError(UnrolledError):
    """Training came to numbers that are not finite, or far too large."""


class MissingExtraError(UnrolledError, ImportError):
    """An optional package is not installed.

    >>> print(MissingExtraError("text", "zstandard"))
    zstandard is not installed. Run: pip install 'unrolled[text]'
    """

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"{package} is not installed")
        self.extra = extra
        self.package = package

    def __str__(self) -> str:
        return f"{self.what}. Run: pip install 'unrolled[{self.extra}]'"

    def __reduce__(self) -> tuple[object, ...]:
        return MissingExtraError, (self.extra, self.package)


class UnrolledWarning(UserWarning):
    """Work went on, but not as asked for: the sentence says what was done instead."""


def _rebuild(
    kind: type[UnrolledError], what: str, where: str | None, hint: str | None
) -> UnrolledError:
    return kind(what, where=where, hint=hint)
