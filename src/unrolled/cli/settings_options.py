"""Options made from settings: some as options of their own, all by ``--set`` and ``--config``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from unrolled.errors import FormatError, SettingError, TextError
from unrolled.settings import Setting, check_names, settings_of

# One option for three settings.
DROPOUT = ("dropout_input", "dropout_layers", "dropout_output")

_PLACEHOLDERS = {int: "<int>", int | None: "<int>", float: "<float>"}


def option_for(known: Setting) -> Any:
    """The option of a setting, as Typer's annotation; its value is None where it is not given."""
    unset = not (known.default or known.shown_default)
    default = "" if unset else f" [default: {known.default_text}]"
    choices = f" One of {', '.join(known.choices)}." if known.choices else ""
    about: dict[str, Any] = {"help": known.help + choices + default, "show_default": False}
    names = dict.fromkeys((known.option, known.option.replace("normalise", "normalize")))
    if known.type is bool:
        if known.default:  # only then there is a need for its opposite
            about["help"] = known.help
            names = {f"{name}/{name.replace('--', '--' + 'no-', 1)}": None for name in names}
        return Annotated[bool | None, typer.Option(*names, **about)]
    if known.choices:
        about["autocompletion"] = lambda: list(known.choices)
    placeholder = _PLACEHOLDERS.get(known.type, "<str>")
    return Annotated[str | None, typer.Option(*names, metavar=placeholder, **about)]


def with_settings(
    what: str | None, kinds: Iterable[type], shown: Iterable[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command options for settings; it gets those that a user chose as ``settings``.

    Args:
        what: as `unrolled settings` knows them; None for options only.
        kinds: the dataclasses that hold them.
        shown: those with an option of their own; the others are reached by ``--set``.
    """
    kinds, shown = tuple(kinds), tuple(shown)
    known = settings_of(*kinds)
    chosen = _Chosen(kinds, known)

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            if parameter.name == "settings":
                parameters += [_parameter(name, _shown(name, known)) for name in shown]
            else:
                parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
        if what is not None:
            parameters += [_parameter("set_", _set_option(what)), _parameter("config", _CONFIG)]

        def command(**given: Any) -> None:
            options = {name: given.pop(name) for name in shown}
            pairs, path = given.pop("set_", None), given.pop("config", None)
            if path is not None:
                from unrolled.text.sources import check_not_read

                check_not_read(given["output"], path)
            function(**given, settings=chosen.settings(options, pairs or (), path))

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__module__ = function.__module__
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        if what is not None:
            command.other_settings = known.keys() - set(shown)  # type: ignore[attr-defined]
        return command

    return decorate


_CONFIG = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="<file>",
        help="TOML file of settings, over which options take precedence; `unrolled info MODEL "
        "--config` prints a model's.",
        show_default=False,
    ),
]


def _set_option(what: str) -> Any:
    return Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="<name=value>",
            help=f"Any setting, as often as needed; `unrolled settings {what}` lists all.",
            show_default=False,
        ),
    ]


def _shown(name: str, known: Mapping[str, Setting]) -> Any:
    if name != "dropout":
        return option_for(known[name])
    default = " ".join(f"{known[part].default:g}" for part in DROPOUT)
    about = f"Shares dropped at input, between layers, at output; or one. [default: {default}]"
    return Annotated[str | None, typer.Option(metavar="<numbers>", help=about, show_default=False)]


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


class _Chosen:
    """The settings that a user chose, from options, ``--set`` and a file."""

    def __init__(self, kinds: tuple[type, ...], known: dict[str, Setting]) -> None:
        self.kinds, self.known = kinds, known

    def settings(
        self, options: Mapping[str, Any], pairs: Iterable[str], path: Path | None
    ) -> dict[str, Any]:
        """Values by name: of the command line, or else of the file.

        Raises:
            SettingError: a name that is unknown or given twice, or a value that is not allowed.
        """
        given: dict[str, Any] = {}
        for name, value in options.items():
            if name == "dropout" and value is not None:
                given |= self._dropout(value)
            elif value is not None:
                given[name] = (
                    value if isinstance(value, bool)
                    else self.known[name].parsed(value, self.known[name].option)
                )  # fmt: skip
        for pair in pairs:
            name, equals, text = pair.partition("=")
            name = name.strip().replace("-", "_")
            if not equals:
                raise SettingError(f"--set is '{pair}', and must be NAME=VALUE")
            check_names([name], *self.kinds, where="--set")
            if name in given:
                raise SettingError(f"{name} is given twice", hint="Choose one value")
            given[name] = self.known[name].parsed(text, f"--set {name}")
        return {**(self._file(path) if path else {}), **given}

    def _dropout(self, text: str) -> dict[str, float]:
        shares = text.replace(",", " ").split()
        if len(shares) not in (1, len(DROPOUT)):
            raise SettingError(f"--dropout is '{text}', allowed are one number or {len(DROPOUT)}")
        shares = shares * len(DROPOUT) if len(shares) == 1 else shares
        return {
            name: self.known[name].parsed(share, "--dropout")
            for name, share in zip(DROPOUT, shares, strict=True)
        }

    def _file(self, path: Path) -> dict[str, Any]:
        import tomllib

        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise TextError(f"cannot be read: {reason}", where=str(path)) from None
        except tomllib.TOMLDecodeError as error:
            raise FormatError(f"it is not TOML: {error}", where=str(path)) from None
        check_names(table, *self.kinds, where=str(path))
        return {
            name: self.known[name].checked(value, where=str(path)) for name, value in table.items()
        }
