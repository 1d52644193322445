"""Settings given by name, sorted into the configurations that know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from unrolled.errors import SettingError


def check_known(given: Iterable[str], known: list[str]) -> None:
    """Refuse names that no setting has.

    Raises:
        SettingError: there is one; with the nearest known name.

    >>> check_known(["ordr"], ["order", "prune"])
    Traceback (most recent call last):
    unrolled.errors.SettingError: there is no setting 'ordr'. Did you mean order.
    """
    import difflib

    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean {near[0]}" if near else "Known are " + ", ".join(known)
            raise SettingError(f"there is no setting '{name}'", hint=hint)


def names_of(*kinds: Any) -> list[str]:
    """Names of the fields of some dataclasses."""
    return [item.name for kind in kinds for item in fields(kind)]


def with_current_names(settings: Mapping[str, Any], former: Mapping[str, str]) -> dict[str, Any]:
    """Settings of a file that an earlier version wrote, under the names of today.

    >>> with_current_names({"direct": 9, "hidden": 20}, {"direct": "maxent_size"})
    {'maxent_size': 9, 'hidden': 20}
    """
    return {former.get(name, name): value for name, value in settings.items()}


def sorted_into(settings: Mapping[str, Any], *kinds: Any) -> list[dict[str, Any]]:
    """The settings of each of some dataclasses, which share no name.

    Raises:
        SettingError: a name that none of them has; with the nearest known one.
    """
    check_known(settings, names_of(*kinds))
    parts = (
        {name: settings[name] for name in names_of(kind) if name in settings} for kind in kinds
    )
    return list(parts)
