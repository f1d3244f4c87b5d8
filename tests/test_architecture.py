"""What holds for the source as a whole: imports run one way, files stay small, examples run, importing is cheap."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import gradlite

ROOT = Path(gradlite.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
MODULES = [
    ".".join(("gradlite", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__") for path in FILES
]

# Lower ones know nothing of higher ones. The longest prefix of a module's name counts.
RANKS = {
    "gradlite.version": 0,
    "gradlite.config": 0,
    "gradlite.backends.registry": 0,
    "gradlite.backends.dtypes": 0,
    "gradlite.backends.narrow": 1,
    "gradlite.backends.reading": 0,
    "gradlite.backends.rows": 0,
    "gradlite.backends.staging": 0,
    "gradlite.backends.reference": 1,
    "gradlite.backends.base": 2,
    "gradlite.backends.cpu.registry": 2,
    "gradlite.backends.cpu": 3,
    "gradlite.backends.cuda": 4,
    "gradlite.backends": 5,
    "gradlite.methods": 6,
    "gradlite.tensor": 7,
    "gradlite.autograd": 8,
    "gradlite.random": 9,
    "gradlite.ops": 10,
    "gradlite.recording": 11,
    "gradlite.nn": 11,
    "gradlite.keras": 12,
    "gradlite.training": 13,
    "gradlite.keras.models": 14,
    "gradlite.keras.__init__": 15,
    "gradlite": 16,
    "gradlite.doctor": 17,
    "gradlite.__main__": 18,
}


def rank(module: str) -> int:
    """The rank of the longest listed name that the module is or lies in."""
    if module == "gradlite.keras":
        return RANKS["gradlite.keras.__init__"]
    name = module
    while name not in RANKS or (name == "gradlite" and module != "gradlite"):
        if "." not in name:
            raise KeyError(f"{module} has no rank: add it to the table")
        name = name.rpartition(".")[0]
    return RANKS[name]


def imports_at_load(tree: ast.Module, module: str, package: bool) -> list[str]:
    """The modules of gradlite that importing this one loads: not those under TYPE_CHECKING or inside functions."""
    found: list[str] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            found.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively; write the whole name"
            base = node.module or ""
            found.extend(f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names)
        else:
            stack.extend(ast.iter_child_nodes(node))
    return [name for name in found if name == "gradlite" or name.startswith("gradlite.")]


@pytest.mark.parametrize(("path", "module"), list(zip(FILES, MODULES)), ids=MODULES)
def test_imports_run_one_way(path, module):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = rank(module)
    for name in imports_at_load(tree, module, path.name == "__init__.py"):
        inside = name.startswith(module + ".") and path.name == "__init__.py"
        assert inside or rank(name) <= own, f"{module} (rank {own}) must not import {name} (rank {rank(name)})"


def test_the_table_of_ranks_refuses_what_runs_the_other_way():
    assert rank("gradlite.backends.cpu.pooling") < rank("gradlite.tensor") < rank("gradlite.ops.linear")
    assert rank("gradlite.keras.layers.base") < rank("gradlite.training") < rank("gradlite.keras.models.model")
    assert rank("gradlite.keras.models") < rank("gradlite")
    tree = ast.parse(
        "if TYPE_CHECKING:\n    import gradlite.keras\nfrom gradlite.ops import add\ndef f():\n    import gradlite.nn"
    )
    assert imports_at_load(tree, "gradlite.tensor", False) == ["gradlite.ops"]


@pytest.mark.parametrize("path", FILES, ids=MODULES)
def test_a_file_says_what_lives_there_and_is_short_enough_to_read(path):
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), f"{path.name} needs a docstring that says what lives there"
    assert source.count("\n") <= 600, f"{path.name} has {source.count(chr(10))} lines; divide it by subject"


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_run(module):
    if module.endswith("__main__"):
        pytest.skip("a program, not a module of functions")
    loaded = importlib.import_module(module)
    failures = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE, verbose=False)
    for test in doctest.DocTestFinder(recurse=True).find(loaded, module):
        result = runner.run(test, out=failures.append)
        assert result.failed == 0, "".join(failures)


def test_the_examples_of_operations_made_by_the_tables_run_too():
    """Operations that are objects keep their documentation on the object, where doctest does not look."""
    count = 0
    for name in dir(gradlite.ops):
        value = getattr(gradlite.ops, name)
        if isinstance(value, gradlite.Op):
            assert value.__doc__, name
            for test in doctest.DocTestFinder().find(value, name, globs={}):
                assert doctest.DocTestRunner(verbose=False).run(test).failed == 0
            count += 1
    assert count > 50


def public_functions(loaded):
    """The functions and methods that a module defines under public names."""
    for name, value in vars(loaded).items():
        if name.startswith("_") or getattr(value, "__module__", None) != loaded.__name__:
            continue
        if inspect.isfunction(value):
            yield f"{loaded.__name__}.{name}", value
        elif inspect.isclass(value):
            for key, member in vars(value).items():
                function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                own = getattr(function, "__module__", None) == loaded.__name__
                if own and inspect.isfunction(function) and (not key.startswith("_") or key == "__init__"):
                    yield f"{loaded.__name__}.{name}.{key}", function


@pytest.mark.parametrize("module", [m for m in MODULES if not m.endswith("__main__")])
def test_public_functions_are_annotated(module):
    for name, function in public_functions(importlib.import_module(module)):
        annotations = function.__annotations__
        assert "return" in annotations, f"{name} does not say what it returns"
        missing = [
            p.name for p in inspect.signature(function).parameters.values()
            if p.name not in ("self", "cls") and p.name not in annotations
        ]  # fmt: skip
        assert not missing, f"{name} does not say what {missing} are"


def test_packages_list_all_their_modules():
    assert {m.name for m in pkgutil.walk_packages(gradlite.__path__, "gradlite.")} | {"gradlite"} == set(MODULES)


def run(code: str, **environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT.parent,
        env={**os.environ, **environment},
    ).stdout


def test_importing_loads_nothing_that_only_some_need():
    rare = "cupy h5py tqdm urllib.request http.client ssl tkinter matplotlib PIL scipy tensorflow torch pandas unittest"
    found = run(f"import sys, gradlite; print(*[m for m in {rare.split()!r} if m in sys.modules])").split()
    from_numpy = run(f"import sys, numpy; print(*[m for m in {rare.split()!r} if m in sys.modules])").split()
    assert set(found) <= set(from_numpy)


def test_importing_takes_a_quarter_of_a_second_at_most_beyond_numpy(tmp_path):
    code = """
from time import process_time
a = process_time(); import numpy, threading
b = process_time(); import gradlite
print(b - a, process_time() - b)
"""
    # Processor time and the least of several runs: a busy machine only adds. A slow machine is slow for NumPy too.
    # The first run compiles the sources to bytecode, as installing does.
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    runs = [tuple(map(float, run(code, **compiled).split())) for _ in range(6)]
    for_numpy, seconds = (min(column) for column in zip(*runs))
    print(f"import gradlite: {1000 * seconds:.0f} ms beyond numpy's {1000 * for_numpy:.0f} ms")
    assert seconds < max(0.25, 2.5 * for_numpy)
