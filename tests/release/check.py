"""``make release-check``: build the sdist and the wheel, look into them, install and try them.

Every extra is installed alone, from the wheel, in a fresh environment of every Python that is
there, and tried by `smoke.py`. Prints a line for each; the exit code is 1 if any failed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(Path(__file__).parent))
from smoke import SMOKE  # noqa: E402

VERSIONS = ("3.11", "3.12", "3.13")
# What a wheel may hold beside Python: the page of the server, and the mark that it is typed.
_KINDS = {".py", ".typed", ".html", ".css", ".js", ".svg", ".j2", ".json", ".ico"}
_IN_SDIST = (
    "src/unrolled/__init__.py",
    "tests/test_house.py",
    "docs/index.md",
    "examples/README.md",
    "results/estimation-57M.json",
    "mkdocs.yml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CITATION.cff",
    "LICENSE",
    "Makefile",
    "Containerfile",
    "constraints.txt",
    "pyproject.toml",
)


def build(folder: Path) -> tuple[Path, Path]:
    """Build the wheel from the sdist, as an installer without a wheel would; both are returned."""
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def check_contents(wheel: Path, sdist: Path) -> None:
    """What the two files hold, and the version, which `version.py` alone states."""
    version = re.search(
        r'"(.+)"', (ROOT / "src/unrolled/version.py").read_text().split("__version__")[1]
    )
    assert version is not None
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        info = f"unrolled-{version[1]}.dist-info"
        metadata = Parser().parsestr(files.read(f"{info}/METADATA").decode())
    strange = [
        name
        for name in names
        if not name.startswith(f"{info}/")
        and not (name.startswith("unrolled/") and Path(name).suffix in _KINDS | {""})
    ]
    assert not strange, f"the wheel holds {strange}"
    assert {"unrolled/py.typed", f"{info}/licenses/LICENSE"} <= set(names), names
    assert metadata["Version"] == version[1]
    assert set(metadata.get_all("Provides-Extra", [])) >= set(SMOKE) - {""}
    with tarfile.open(sdist) as archive:
        held = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    missing = [name for name in _IN_SDIST if name not in held]
    assert not missing, f"the sdist lacks {missing}"
    models = [name for name in held if name.endswith((".safetensors", ".arpa", ".nbi", ".pyc"))]
    assert not models, f"the sdist holds {models}"


def pythons() -> dict[str, str]:
    """The interpreters of `VERSIONS` that are on the PATH or among pyenv's."""
    found = {}
    for version in VERSIONS:
        pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
        for candidate in [shutil.which(f"python{version}"), *map(str, pyenv)]:
            if candidate and _version_of(candidate) == version:
                found[version] = candidate
                break
    return found


def _version_of(python: str) -> str:
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    result = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return result.stdout.strip()


def try_extra(python: str, wheel: Path, extra: str) -> str:
    """Install the wheel with one extra in a fresh environment, and try it; "" or what failed."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "venv"
        own = place / ("Scripts" if os.name == "nt" else "bin") / "python"
        what = f"{wheel}[{extra}]" if extra else str(wheel)
        constraints = str(ROOT / "constraints.txt")
        try:
            _run([python, "-m", "venv", str(place)])
            pip = [str(own), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            _run([*pip, "--constraint", constraints, what])
            _run([str(own), str(Path(__file__).parent / "smoke.py"), extra])
        except RuntimeError as error:
            return str(error)
    return ""


def _run(command: list[str]) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, capture_output=True, text=True, env=clean, check=False)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}\n{result.stdout}{result.stderr}")


def main() -> int:
    """Print a line for each check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", type=Path, default=ROOT / "dist")
    parser.add_argument("--pythons", default=",".join(VERSIONS), help="such as 3.11,3.13")
    parser.add_argument("--extras", help="such as text,demo; all by default")
    arguments = parser.parse_args()
    wheel, sdist = build(arguments.dist)
    check_contents(wheel, sdist)
    _run([sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist)])
    print(f"{wheel.name} and {sdist.name}: built, contents and metadata are right", flush=True)
    wanted = list(SMOKE) if arguments.extras is None else arguments.extras.split(",")
    found = pythons()
    failed = 0
    for version in arguments.pythons.split(","):
        if version not in found:
            print(f"Python {version}: not here, left out", flush=True)
            continue
        for extra in wanted:
            begin = time.monotonic()
            problem = try_extra(found[version], wheel, extra)
            took = f"{time.monotonic() - begin:.0f} s"
            name = f"unrolled[{extra}]" if extra else "unrolled"
            print(f"Python {version}, {name}: {problem or 'works'} ({took})", flush=True)
            failed += bool(problem)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
