"""Settings: fields of frozen dataclasses, each declared once with its default, help and range.

From the declaration come validation, options of the command line and their help, the table in
docs/settings.md, `unrolled settings`, and the errors for unknown names and values not allowed.

>>> @dataclass(frozen=True)
... class Config:
...     order: int = setting(5, "Longest n-gram.", minimum=1, maximum=64)
...     def __post_init__(self) -> None:
...         check_settings(self)
>>> Config(0)
Traceback (most recent call last):
unrolled.errors.SettingError: order is 0, allowed are 1 to 64
>>> configure({"ordr": 3}, Config)
Traceback (most recent call last):
unrolled.errors.SettingError: there is no setting 'ordr'. Did you mean order.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from unrolled.errors import FormatError, SettingError

T = TypeVar("T")

_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_DECLARED: dict[type, dict[str, Setting]] = {}
_NUMBERS = {int: Integral, float: Real}
_TYPES = {int: "whole numbers", float: "numbers", str: "text", bool: "true and false"}


def setting(
    default: T,
    help: str,
    *,
    group: str = "",
    choices: Collection[str] = (),
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    allowed: str = "",
    check: Callable[[Any], bool] | None = None,
    shown_default: str = "",
    former: str = "",
    internal: bool = False,
) -> T:
    """A dataclass field that is a setting.

    Args:
        default: its default.
        help: one or two sentences.
        group: heading that it is listed under; that of the field before if empty.
        choices, minimum, maximum, above, below: the values allowed; of each number in a tuple or
            a dictionary.
        allowed: the values allowed in words, where ``check`` decides.
        check: whether a value of the right type is allowed, besides the range.
        shown_default: the default in words, where it depends on other settings.
        former: its name in the model files of earlier versions.
        internal: it is stored in model files, but not for users to set.
    """
    about = Setting(
        help=help, group=group, choices=tuple(choices), minimum=minimum, maximum=maximum,
        above=above, below=below, words=allowed, check=check, default=default,
        shown_default=shown_default, former=former, internal=internal,
    )  # fmt: skip
    result: T = field(default=default, metadata={"setting": about}, repr=not internal)
    return result


@dataclass(frozen=True)
class Setting:
    """One setting, see `setting`; ``type`` is the field's annotation."""

    default: Any
    help: str
    group: str
    choices: tuple[str, ...]
    minimum: float | None
    maximum: float | None
    above: float | None
    below: float | None
    words: str
    check: Callable[[Any], bool] | None
    shown_default: str
    former: str
    internal: bool
    name: str = ""
    type: Any = None

    @property
    def option(self) -> str:
        """The option of the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """The values allowed, in words."""
        if self.words or self.choices:
            return self.words or ", ".join(self.choices)
        of_type, limits = _type_name(self.type), self._limits()
        if limits and get_origin(_plain(self.type)[0]):
            return f"{of_type}, {limits}"
        return limits or of_type

    def _limits(self) -> str:
        low, high = self.minimum, self.maximum
        if self.above is not None:
            return f"numbers above {self.above}" + (f", up to {high}" if high is not None else "")
        if low is None:
            return ""
        if self.below is not None:
            return f"{low} to below {self.below}"
        return f"{low} and more" if high is None else f"{low} to {high}"

    def checked(self, value: Any, name: str = "", where: str | None = None) -> Any:
        """The value as its type says.

        Args:
            name: what the error calls the setting; its name if empty.
            where: the file that the error is about.

        Raises:
            SettingError: it is of another type, or not allowed.
        """
        try:
            found = _typed(value, self.type)
        except TypeError:
            of_type = _type_name(self.type)
            exact = of_type == "text" or self.allowed.startswith(of_type)
            expected = self.allowed if exact else f"{of_type}, {self.allowed}"
        else:
            if self._allows(found):
                return found
            expected = self.allowed
        shown = f"'{value}'" if isinstance(value, str) else value
        raise SettingError(f"{name or self.name} is {shown}, allowed are {expected}", where=where)

    def _allows(self, value: Any) -> bool:
        if value is None:
            return True
        if self.check is not None and not self.check(value):
            return False
        if isinstance(value, str):
            return not self.choices or value in self.choices
        if isinstance(value, dict):
            value = tuple(value.values())
        return all(map(self._in_range, value if isinstance(value, tuple) else (value,)))

    def _in_range(self, number: float) -> bool:
        return (
            math.isfinite(number)
            and (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def parsed(self, text: str, name: str = "") -> Any:
        """The value that a text of the command line stands for.

        Raises:
            SettingError: it stands for none, or for one that is not allowed.
        """
        try:
            value = _parsed(text, self.type)
        except ValueError:
            value = text
        return self.checked(value, name)

    @property
    def default_text(self) -> str:
        """The default as it is shown in help and tables."""
        if self.shown_default:
            return self.shown_default
        if self.default is None or self.default == () or self.default == "":
            return "none"
        if isinstance(self.default, tuple):
            return " ".join(f"{item:g}" for item in self.default)
        return str(self.default).lower() if isinstance(self.default, bool) else str(self.default)


def _plain(kind: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it has one."""
    options = get_args(kind)
    if type(None) in options:
        return next(option for option in options if option is not type(None)), True
    return kind, False


def _type_name(kind: Any) -> str:
    kind, _ = _plain(kind)
    if get_origin(kind) is tuple:
        of, *rest = get_args(kind)
        number = "" if rest == [...] else f"{1 + len(rest)} "
        return f"{number}{_TYPES[of]}"
    if get_origin(kind) is dict:
        return "pairs such as 'O=0.6 B=1'"
    return _TYPES[kind]


def _typed(value: Any, kind: Any) -> Any:
    """A value as the type that is declared; TypeError for another."""
    kind, optional = _plain(kind)
    if value is None and optional:
        return None
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        kinds = get_args(kind)
        if kinds[-1] is ...:
            kinds = (kinds[0],) * len(value)
        if len(kinds) == len(value):
            return tuple(map(_typed, value, kinds))
    elif get_origin(kind) is dict and isinstance(value, Mapping):
        of_key, of_value = get_args(kind)
        return {_typed(key, of_key): _typed(item, of_value) for key, item in value.items()}
    elif kind is str and isinstance(value, (str, os.PathLike)):
        return os.fspath(value)
    elif kind is bool and isinstance(value, bool):
        return value
    elif isinstance(value, _NUMBERS.get(kind, ())) and not isinstance(value, bool):
        return kind(value)
    raise TypeError


def _parsed(text: str, kind: Any) -> Any:
    kind, optional = _plain(kind)
    if optional and text.strip().lower() in ("", "none"):
        return None
    parts = text.replace(",", " ").split()
    if get_origin(kind) is tuple:
        return tuple(get_args(kind)[0](part) for part in parts)
    if get_origin(kind) is dict:
        pairs = [part.rpartition("=") for part in parts]
        if not all(name for name, _, _ in pairs):
            raise ValueError
        return {name: float(number) for name, _, number in pairs}
    if kind is bool:
        return _TRUTH.get(text.strip().lower(), text)
    return kind(text)


def _declared(kind: type) -> dict[str, Setting]:
    if kind not in _DECLARED:
        _DECLARED[kind] = _read_fields(kind)
    return _DECLARED[kind]


def _read_fields(kind: type) -> dict[str, Setting]:
    types, group = get_type_hints(kind), ""
    found: dict[str, Setting] = {}
    for item in fields(kind):
        if "setting" in item.metadata:
            about = item.metadata["setting"]
            group = about.group or group
            found[item.name] = replace(about, name=item.name, type=types[item.name], group=group)
    return found


def settings_of(*kinds: type) -> dict[str, Setting]:
    """The settings of some dataclasses that users can choose, by name."""
    return {
        name: one for kind in kinds for name, one in _declared(kind).items() if not one.internal
    }


def check_settings(config: Any) -> None:
    """Check all settings of a dataclass, and give each the type that is declared.

    Raises:
        SettingError: a value that is not allowed.
    """
    for name, known in _declared(type(config)).items():
        object.__setattr__(config, name, known.checked(getattr(config, name)))


def check_names(
    given: Iterable[str], *kinds: type, more: Iterable[str] = (), where: str | None = None
) -> None:
    """Refuse names that no setting of some dataclasses has.

    Raises:
        SettingError: there is one; with the nearest known name, or the present one of a setting
            that was renamed.
    """
    import difflib

    known = settings_of(*kinds)
    names = [*more, *known]
    renamed = {one.former: name for name, one in known.items() if one.former}
    for name in given:
        if name not in names:
            near = [renamed[name]] if name in renamed else difflib.get_close_matches(name, names, 1)
            hint = f"Did you mean {near[0]}" if near else "Known are " + ", ".join(names)
            raise SettingError(f"there is no setting '{name}'", where=where, hint=hint)


def divide(settings: Mapping[str, Any], *kinds: type) -> list[dict[str, Any]]:
    """Settings by name, sorted into those of some dataclasses, which share no name.

    Raises:
        SettingError: a name that none of them has.
    """
    check_names(settings, *kinds)
    return [
        {name: settings[name] for name in settings_of(kind) if name in settings} for kind in kinds
    ]


def configure(settings: Mapping[str, Any], *kinds: type) -> list[Any]:
    """Configurations of some dataclasses, which share no name, from settings by name.

    Raises:
        SettingError: a name that none of them has, or a value that is not allowed.
    """
    given = divide(settings, *kinds)
    return [kind(**own) for kind, own in zip(kinds, given, strict=True)]


def record_of(*configs: Any) -> dict[str, Any]:
    """The settings of configurations by name, as they are stored to train a model again."""
    return {name: getattr(config, name) for config in configs for name in settings_of(type(config))}


def with_current_names(stored: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Settings of a model file, which an earlier version may have written, by today's names."""
    present = {one.former: name for name, one in _declared(kind).items() if one.former}
    return {present.get(name, name): value for name, value in stored.items()}


def stored_config(stored: Mapping[str, Any], kind: type[T], where: str | None) -> T:
    """The configuration among the settings of a model file.

    Raises:
        FormatError: a value of another type or one that is not allowed.
    """
    try:
        return kind(**{name: stored[name] for name in _declared(kind) if name in stored})
    except SettingError as error:
        raise FormatError(f"the settings are not understood: {error}", where=where) from None


def to_toml(settings: Mapping[str, Any]) -> str:
    """Settings as lines of TOML; what is None is left out.

    >>> print(to_toml({"cell": "lstm", "tied": True, "prune": (0, 1), "label_weights": {"O": 0.6}}))
    cell = "lstm"
    tied = true
    prune = [0, 1]
    label_weights = {"O" = 0.6}
    """
    lines = (f"{name} = {_toml(value)}" for name, value in settings.items() if value is not None)
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml(name)} = {_toml(item)}" for name, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
