"""The examples: each, on a small setting, does what it promises."""

from __future__ import annotations

import ast
import importlib.util
import math
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def load(name: str) -> ModuleType:
    """An example as a module; what stands below ``__main__`` does not run."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", NAMES)
def test_each_example_explains_itself_and_its_options(name: str) -> None:
    path = ROOT / "examples" / f"{name}.py"
    explanation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    result = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert f"python examples/{name}.py" in explanation
    assert explanation in result.stdout
    assert "default" in result.stdout


def test_mnist_learns_digits(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("mnist").main(["--train", "3000", "--epochs", "2"])
    assert result["parameters"] == 407_050
    assert result["accuracy"] > 0.8
    assert f"{result['accuracy']:.2%} are recognised" in capsys.readouterr().out


def test_alvinn_steers_better_than_going_straight_ahead(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("alvinn").main(["--train", "3000", "--test", "500", "--epochs", "6", "--preview"])
    assert result["parameters"] == 960 * 4 + 4 + 4 * 30 + 30
    assert result["error"] < 1.3
    assert result["error"] < 0.35 * result["guess"]
    assert result["fraction"] == pytest.approx(result["error"] / 29)
    printed = capsys.readouterr().out
    assert "weights of a hidden unit" in printed
    assert f"network      {result['error']:5.2f}" in printed


def test_alvinns_roads_lead_where_the_answer_says(rng: np.random.Generator) -> None:
    alvinn = load("alvinn")
    pictures, direction = alvinn.roads(400, rng)
    assert pictures.shape == (400, 30, 32)
    assert 0 <= pictures.min() < pictures.max() <= 1
    assert 0 < direction.min() < 10 < 20 < direction.max() < 29
    # Where the road goes left, the left of the picture's middle is brighter, as the road is brighter than its verge.
    middle = pictures[:, 8:16]
    tilt = middle[:, :, 16:].mean(axis=(1, 2)) - middle[:, :, :16].mean(axis=(1, 2))
    assert np.corrcoef(tilt, direction)[0, 1] > 0.5


def test_alvinn_reads_a_direction_from_the_hump_that_stands_for_it(rng: np.random.Generator) -> None:
    alvinn = load("alvinn")
    direction = rng.uniform(5, 24, 50)
    humps = alvinn.humps(direction)
    np.testing.assert_allclose(alvinn.directions(humps), direction, atol=0.15)
    np.testing.assert_allclose(alvinn.directions(0.3 * humps - 0.05), direction, atol=0.5)


def test_the_tour_arrives_at_every_station(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("autograd_tour").main(["--steps", "200"])
    assert result["gradient"] == 1.0
    assert result["accuracy"] > 0.95
    assert result["newton_steps"] < 10
    assert result["derivatives_agree"]
    all_at_once, in_pieces = result["megabytes"]
    assert in_pieces < 0.7 * all_at_once
    assert "a wrong derivative: The gradient of input 0 differs" in capsys.readouterr().out


def test_the_small_vggnet_has_the_lectures_weights_and_shapes() -> None:
    model = load("shallow_vggnet").ShallowVGGNet.build(width=32, height=32, depth=3, classes=10)
    assert model.count_params() == 2_171_178
    assert model.output_shape == (None, 10)
    wide = load("shallow_vggnet").ShallowVGGNet.build(width=16, height=8, depth=1, classes=2)
    assert wide.predict(np.zeros((3, 8, 16, 1), np.float32), verbose=0).shape == (3, 2)


def test_the_small_vggnet_draws_ten_kinds_of_pictures_that_differ(rng: np.random.Generator) -> None:
    vgg = load("shallow_vggnet")
    pictures, labels = vgg.draw(300, rng)
    assert pictures.shape == (300, 32, 32, 3)
    assert pictures.dtype == np.uint8
    assert sorted(np.unique(labels)) == list(range(10))
    assert len(np.unique(pictures.reshape(300, -1), axis=0)) == 300
    (x_train, _), (x_test, _) = vgg.synthetic(20, 20, seed=3)
    assert not np.array_equal(x_train, x_test)
    np.testing.assert_array_equal(vgg.synthetic(20, 20, seed=3)[1][0], x_test)


@pytest.mark.slow
def test_the_small_vggnet_learns_the_drawn_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    result = load("shallow_vggnet").main(
        ["--data", "synthetic", "--train", "800", "--test", "100", "--batch", "8", "--epochs", "2"]
    )
    assert result["data"] == "synthetic"
    assert math.isfinite(result["loss"])
    # In training: the running statistics of batch normalization need more steps than these to be of use in a test.
    assert result["train_accuracy"] > 0.2  # guessing would give 0.1
    assert "Pictures: synthetic" in capsys.readouterr().out
