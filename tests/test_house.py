"""The house: which modules exist, and what they may know of each other.

`make check` holds the floors (import-linter's contracts in pyproject.toml). Here is what those
contracts cannot express. Imports inside functions and under TYPE_CHECKING count.
"""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

SRC = Path(__file__).parents[1] / "src" / "unrolled"

# The loader decides by the header which class reads a file, and checks what others hand to it.
LOADER = {"storage/loading.py"}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("unrolled", cache_dir=None)


def test_no_module_imports_the_package_root(graph: grimp.ImportGraph) -> None:
    # Its names are lazy: through it any module would depend on all others.
    assert not graph.find_modules_that_directly_import("unrolled")


def test_no_circles_among_modules(graph: grimp.ImportGraph) -> None:
    # import-linter's contract looks at siblings; a module and its own package are none.
    arrows = {
        module: graph.find_modules_directly_imported_by(module) - {"unrolled"}
        for module in graph.modules
    }
    TopologicalSorter(arrows).prepare()  # raises CycleError with the circle


def test_few_modules_lie_outside_the_folders() -> None:
    assert len(list(SRC.glob("*.py"))) <= 6


def test_models_are_asked_through_their_protocol() -> None:
    """Nobody but the loader asks which kind of model or tagger it has got."""
    trees = {
        path.relative_to(SRC).as_posix(): ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(SRC.rglob("*.py"))
    }
    kinds = {
        node.name
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and is_a_model(node)
    }
    models = {"LanguageModel", "Mixture", "NeuralModel", "NgramModel"}
    assert models | {"Tagger", "NeuralTagger", "TaggerMixture"} <= kinds
    found = {
        name: [ast.unparse(call) for call in ast.walk(tree) if asks_for_the_kind(call, kinds)]
        for name, tree in trees.items()
        if name not in LOADER
    }
    assert not {name: calls for name, calls in found.items() if calls}


def is_a_model(kind: ast.ClassDef) -> bool:
    """Language models and taggers, and nothing that derives from other classes of the same name."""
    bases = {ast.unparse(base) for base in kind.bases}
    return bool(
        kind.name in {"LanguageModel", "Tagger"}
        or bases & {"LanguageModel", "Tagger"}
        or any(
            isinstance(item, ast.FunctionDef) and item.name == "next_log_probs"
            for item in kind.body
        )
    )


def asks_for_the_kind(node: ast.AST, kinds: set[str]) -> bool:
    """Whether it is a ``hasattr``, a ``getattr`` with a default or an ``isinstance`` of a model."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        return False
    match node.func.id:
        case "hasattr":
            return ast.unparse(node.args[0]) not in {"os", "sys"}
        case "getattr":
            return len(node.args) == 3 and ast.unparse(node.args[0]) in {
                "model",
                "opened",
                "tagger",
            }
        case "isinstance":
            return any(isinstance(n, ast.Name) and n.id in kinds for n in ast.walk(node.args[1]))
    return False


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("hasattr(model, 'trie')", True),
        ("getattr(model, 'trie', None)", True),
        ("isinstance(model, (str, NgramModel))", True),
        ("getattr(model, name)", False),
        ("getattr(error, 'msg', None)", False),
        ("hasattr(os, 'sched_getaffinity')", False),
        ("isinstance(text, str)", False),
    ],
)
def test_questions_for_the_kind_are_recognised(line: str, expected: bool) -> None:
    assert asks_for_the_kind(ast.parse(line, mode="eval").body, {"NgramModel"}) is expected
