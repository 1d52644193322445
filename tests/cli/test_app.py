"""What the parser refuses, in the words of the house."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("predict m -n 0", "--count is 0, allowed are 1 and more. See `unrolled predict --help`."),
        ("predict m -n x", "--count is 'x', allowed are whole numbers, 1 and more. See"),
        ("generate m --max-words 1.5", "--max-words is '1.5', allowed are whole numbers, 1 and"),
        ("generate m --top-k -3", "--top-k is -3, allowed are 1 and more. See"),
        ("evaluate m t --cache-weight high", "--cache-weight is 'high', allowed are numbers. See"),
        ("compile --processes 3", "--processes is 3, allowed are 1 to 2. See `unrolled compile"),
        ("score m --threads 0", "--threads is 0, allowed are 1 and more. See `unrolled score"),
        ("train ngram t -o m --order 0", "--order is 0, allowed are 1 to 100"),
    ],
)
def test_numbers_that_are_not_allowed(run: Run, words: str, sentence: str) -> None:
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert err.startswith(f"unrolled: {sentence}")
    assert len(err.splitlines()) == 1
