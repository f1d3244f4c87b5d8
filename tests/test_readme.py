"""README.md: its commands, its code, its table of what is where and its links are true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import accuracy, readme
from benchmarks.documents import load_all
from gradlite.backends.cpu import native

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def command(name: str) -> str:
    """What the code block below the comment ``command:name`` says."""
    found = re.findall(rf"<!-- command:{name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert len(found) == 1, f"README.md must have one command:{name}"
    return found[0].strip()


@pytest.mark.parametrize("name", ["train", "test"])
def test_each_set_up_command_is_one_line_that_starts_from_a_fresh_clone(name: str) -> None:
    line = command(name)
    assert "\n" not in line
    assert line.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    for path in re.findall(r"\S+\.py\b", line):
        assert (ROOT / path).is_file()


def test_the_training_command_takes_more_arguments_at_its_end() -> None:
    # .ci/run appends them; the script is the last thing on the line.
    assert command("train").endswith("/python examples/mnist.py")


def test_the_continuous_integration_finds_the_commands_in_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert os.name == "nt" or os.access(ROOT / ".ci" / "run", os.X_OK)
    assert re.findall(r"readme_command (\w+)\)", script) == ["test", "train"]
    assert 'mark="<!-- command:$1 -->"' in script


def test_there_is_code_in_the_readme() -> None:
    assert len(CODE) >= 3


@pytest.mark.parametrize("number", range(len(CODE)))
def test_the_code_runs_as_it_stands(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(CODE[number], f"README.md, block {number}", "exec"), namespace)
    if "model" in namespace:
        score = namespace["model"].evaluate(namespace["x_test"] / 255, namespace["y_test"], verbose=0)
        assert score[1] > 0.8
        assert "accuracy" in capsys.readouterr().out
        assert sum(bool(line.strip()) for line in CODE[number].splitlines()) == 10


def test_every_path_that_is_linked_exists() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert len(links) > 20
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_a_link_reads_as_the_path_it_leads_to() -> None:
    for text, link in re.findall(r"\[([^\]]+)\]\(([^)#]+)\)", README):
        assert text.replace("\\", "").rstrip("/") == link.rstrip("/")


def test_every_room_of_the_package_is_in_the_table() -> None:
    rooms = {p.parent.relative_to(ROOT).as_posix() for p in (ROOT / "gradlite").rglob("__init__.py")}
    named = set(re.findall(r"\]\((gradlite[^)]*)\)", README))
    small = {"gradlite", "gradlite/keras", "gradlite/backends"}  # named by what is in them
    inner = {room for room in rooms if any(room.startswith(f"{name}/") for name in named)}
    shown_elsewhere = {"gradlite/keras/initializers", "gradlite/keras/utils"}
    assert rooms - small - inner - named - shown_elsewhere == set()


def test_the_measured_part_is_what_the_committed_results_give() -> None:
    documents, skipped = load_all()
    assert not skipped
    assert readme.replaced(README, readme.block(documents)) == README, "run `python -m benchmarks report --readme`"


def test_the_names_of_the_lectures_imports_exist() -> None:
    lines = [
        line.strip("` ") for line in re.findall(r"^\| `.*tensorflow.*\| (`.*gradlite.*`) \|$", README, re.MULTILINE)
    ]
    assert len(lines) == 3
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr


@pytest.mark.skipif(not native.is_available(), reason="the table is of native kernels")
def test_the_stated_accuracy_of_convolutions_is_what_they_have():
    stated = re.search(f"{re.escape(accuracy.BEGIN)}\n(.*)\n{re.escape(accuracy.END)}", README, re.S)
    assert stated is not None
    measured = accuracy.table(accuracy.measure()).splitlines()
    for old, new in zip(stated[1].splitlines()[2:], measured[2:], strict=True):
        assert old.split("|")[1:3] == new.split("|")[1:3]
        # Other vectors sum in another order: the largest errors vary.
        pairs = zip(re.findall(r"\de-\d\d", old), re.findall(r"\de-\d\d", new), strict=True)
        assert all(0.3 <= float(a) / float(b) <= 3 for a, b in pairs)
