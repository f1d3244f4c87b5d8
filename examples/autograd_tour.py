"""A tour of the tape, with nothing but Tensors: what everything above (layers, losses, fit) is made of.

    python examples/autograd_tour.py

Gradients, a network trained by hand on two spirals, Newton's method from second derivatives, an operation of one's
own and its check against finite differences, and a checkpoint that trades time for memory. Takes a few seconds.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np

import gradlite
from gradlite import Tensor


def gradients() -> float:
    """d/dx of f(x, y) = x exp(y) at (3, 0), where it is 1."""
    x, y = Tensor(3.0, requires_grad=True), Tensor(0.0, requires_grad=True)
    f = x * y.exp()
    f.backward()
    assert x.grad is not None
    assert y.grad is not None
    print(f"f = {f.item()}, df/dx = {x.grad.item()}, df/dy = {y.grad.item()}")
    return x.grad.item()


def two_spirals(points: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Points (2 * points, 2) on two arms that wind about each other, and which arm each is on (2 * points, 1)."""
    radius = np.sqrt(rng.uniform(0.02, 1.0, (2, points)))
    angle = 3 * np.pi * radius + np.array([[0.0], [np.pi]])
    places = radius * np.stack([np.cos(angle), np.sin(angle)]) + 0.01 * rng.standard_normal((2, 2, points))
    arms = np.repeat([0.0, 1.0], points)[:, None]
    return Tensor(places.reshape(2, -1).T.astype(np.float32)), Tensor(arms.astype(np.float32))


def network(weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Two hidden layers; the result is the logit of being on the second arm, (n, 1)."""
    w1, b1, w2, b2, w3, b3 = weights
    hidden = (x @ w1 + b1).tanh()
    hidden = (hidden @ w2 + b2).tanh()
    return hidden @ w3 + b3


def train_by_hand(steps: int, rng: np.random.Generator, units: int = 32) -> float:
    """Gradient descent with momentum, written out. Returns the accuracy on new points."""
    x, y = two_spirals(300, rng)
    shapes = [(2, units), (units,), (units, units), (units,), (units, 1), (1,)]
    scales = [4.0, 2.0, 2.0 / units**0.5, 0.0, 1.0 / units**0.5, 0.0]
    weights = [
        Tensor(scale * rng.standard_normal(shape), dtype="float32", requires_grad=True)
        for shape, scale in zip(shapes, scales)
    ]
    velocities = [gradlite.zeros_like(w) for w in weights]
    for step in range(steps + 1):
        loss = gradlite.sigmoid_cross_entropy(y, network(weights, x)).mean()
        if step % (steps // 4) == 0:
            print(f"  step {step:4}: loss {loss.item():.4f}")
        gradients = gradlite.grad(loss, weights)
        with gradlite.no_grad():
            velocities = [0.95 * v - 0.1 * g for v, g in zip(velocities, gradients)]
            weights = [(w + v).requires_grad_() for w, v in zip(weights, velocities)]
    x_new, y_new = two_spirals(500, rng)
    with gradlite.no_grad():
        accuracy = ((network(weights, x_new) > 0) == (y_new > 0.5)).astype("float32").mean().item()
        draw(lambda places: network(weights, places).numpy())
    print(f"  {accuracy:.1%} of new points are on the arm it says")
    return accuracy


def draw(f: Any, width: int = 48, height: int = 20) -> None:
    """Print the sign of a function of the square from -1 to 1."""
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(1, -1, height))
    values = f(Tensor(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float32))).reshape(height, width)
    for row in values:
        print("  " + "".join("#" if value > 0 else "." for value in row))


def newton() -> int:
    """Minimise Rosenbrock's function with its Hessian, row by row the gradient of the gradient. Returns the steps."""
    point = Tensor([-1.2, 1.0], dtype="float64", requires_grad=True)
    for step in range(20):
        x, y = point
        f = (1 - x) ** 2 + 100 * (y - x * x) ** 2
        gradient = gradlite.grad(f, point, create_graph=True)
        print(f"  step {step}: f({x.item():.4f}, {y.item():.4f}) = {f.item():.3g}")
        if np.abs(gradient.numpy()).max() < 1e-9:
            return step
        hessian = np.stack([gradlite.grad(g, point, retain_graph=True).numpy() for g in gradient])
        point = Tensor(point.numpy() - np.linalg.solve(hessian, gradient.numpy()), requires_grad=True)
    raise RuntimeError("Newton's method did not arrive.")


@gradlite.op(lambda gradient, output, x: gradient * gradlite.tanh(x))
def log_cosh(xp: Any, x: Any) -> Any:
    """log(cosh(x)) without overflow, with its derivative, tanh(x), in the line above."""
    size = xp.abs(x)
    return size + xp.log1p(xp.exp(-2 * size)) - np.log(2.0)


def own_operation(rng: np.random.Generator) -> bool:
    """Check first and second derivatives of ``log_cosh``, and show what a wrong one gives."""
    x = Tensor(rng.standard_normal(5), requires_grad=True)
    right = gradlite.gradcheck(log_cosh, x) and gradlite.gradgradcheck(log_cosh, x)
    print(f"  log_cosh(1000) = {log_cosh(Tensor(1000.0)).item():.2f}; both of its derivatives agree: {right}")
    wrong = gradlite.op(lambda gradient, output, x: gradient * x)(log_cosh.function)
    try:
        gradlite.gradcheck(wrong, x)
    except gradlite.GradcheckError as error:
        print(f"  a wrong derivative: {error}")
    return right


def checkpoints(layers: int = 32, size: int = 128) -> tuple[float, float]:
    """Peak memory in MB of one gradient of a deep chain, first with all of it on the tape, then in eight pieces."""
    rng = np.random.default_rng(1)
    weights = [Tensor(rng.standard_normal((size, size)) / size**0.5, requires_grad=True) for _ in range(layers)]
    x = Tensor(rng.standard_normal((8 * size, size)))

    def piece(h: Tensor, some: list[Tensor]) -> Tensor:
        for w in some:
            h = (h @ w).tanh()
        return h

    peaks, results = [], []
    for pieces in (0, 8):
        tracemalloc.start()
        h = x
        for i in range(max(pieces, 1)):
            some = weights[i * layers // max(pieces, 1) : (i + 1) * layers // max(pieces, 1)]
            h = gradlite.checkpoint(piece, h, some) if pieces else piece(h, some)
        results.append(gradlite.grad((h * h).mean(), weights[0]).numpy())
        peaks.append(tracemalloc.get_traced_memory()[1] / 1e6)
        tracemalloc.stop()
    assert np.array_equal(*results)
    print(f"  the same gradient with {peaks[0]:.0f} MB, and with {peaks[1]:.0f} MB")
    return peaks[0], peaks[1]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Walk through all of it; returns what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400, help="steps of training on the spirals (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the points and the weights (default: 0)")
    arguments = parser.parse_args(argv)
    rng = np.random.default_rng(arguments.seed)
    print("1. Gradients")
    found: dict[str, Any] = {"gradient": gradients()}
    print("2. A network, trained by hand on two spirals")
    found["accuracy"] = train_by_hand(arguments.steps, rng)
    print("3. Second derivatives: Newton's method on Rosenbrock's function")
    found["newton_steps"] = newton()
    print("4. An operation of one's own")
    found["derivatives_agree"] = own_operation(rng)
    print("5. A checkpoint: values are dropped and computed again when they are needed")
    found["megabytes"] = checkpoints()
    return found


if __name__ == "__main__":
    main()
