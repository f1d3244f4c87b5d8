"""ALVINN: a network with four hidden units looks at a road and steers (D. Pomerleau, 1989 and 1991).

    python examples/alvinn.py
    python examples/alvinn.py --preview          shows a road, the answer and what hidden units look at

A picture of 30 x 32 pixels goes in; 30 outputs in a row stand for steering directions from sharp left to sharp right.
The target is not one output but a hump of them, a Gaussian around the right direction, and the answer is the centre
of mass of the hump that the network makes. The roads are drawn here: curved, seen in perspective from a car that is
off the middle and turned, with light from a side, shadows, painted edges and noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

import gradlite as tf

HEIGHT, WIDTH = 30, 32  # pixels
DIRECTIONS = 30
HUMP = 10.0  # the target of output i is exp(-(i - direction)^2 / HUMP), as in Pomerleau's thesis
REACH = 4  # outputs on either side of the highest that count for the centre of mass

HORIZON = 6.5  # the row of the horizon
EYE, FOCUS = 2.2, 20.0  # height of the camera in metres, focal length in pixels
LOOK_AHEAD = 12.0  # the car steers for the middle of the road this many metres ahead
SHARPEST = 0.07  # curvature of the outermost directions, 1 / metres


def roads(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw ``n`` roads.

    Returns:
        pictures (n, HEIGHT, WIDTH), float32, 0 (black) to 1 (white), and the right directions (n,), as places among
        the outputs: 0 is the leftmost, DIRECTIONS - 1 the rightmost.
    """

    def numbers(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1, 1))

    # Where the middle of the road is, z metres ahead: a parabola in the car's own axes.
    offset, heading, curvature = numbers(-1.5, 1.5), numbers(-0.12, 0.12), numbers(-0.025, 0.025)
    ahead = offset + heading * LOOK_AHEAD + curvature * LOOK_AHEAD**2 / 2
    steering = 2 * ahead / LOOK_AHEAD**2  # the arc from the car to that point, as in pure pursuit
    direction = (DIRECTIONS - 1) / 2 * (1 + np.clip(steering / SHARPEST, -0.9, 0.9))

    # Each pixel below the horizon shows a place on the ground: z ahead, x metres right of the road's middle.
    row, column = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    ground = row > HORIZON
    z = np.where(ground, FOCUS * EYE / np.maximum(row - HORIZON, 0.3), np.inf)
    z = np.minimum(z, 200.0)
    x = (column - (WIDTH - 1) / 2) * z / FOCUS - (offset + heading * z + curvature * z**2 / 2)
    pixel = z / FOCUS  # how wide a pixel is, there
    half = numbers(1.8, 2.6)
    road = np.clip((half - abs(x)) / pixel + 0.5, 0, 1)  # the share of the pixel that is road
    edge = np.clip(1 - abs(abs(x) - half + 0.15) / np.maximum(0.12, pixel), 0, 1) * np.minimum(0.2 / pixel, 1)

    verge, contrast = numbers(0.2, 0.5), numbers(0.15, 0.4)
    patches = 0.08 * np.sin(numbers(0.5, 3) * x + numbers(0.2, 1) * z + numbers(0, 7))
    picture = verge + patches * (1 - road) + contrast * road + rng.choice([0.0, 0.3], (n, 1, 1)) * edge
    picture = np.where(ground, picture, numbers(0.5, 0.9))  # the sky

    # A tree's shadow across the road, light that falls from a side, the camera's noise.
    depth, breadth = numbers(4, 20), numbers(0.5, 3)
    shadow = np.clip(1.5 - abs(z - depth - 0.2 * x) / breadth, 0, 1) * numbers(-0.4, 0.5).clip(0)
    picture = picture * (1 - shadow) * (1 + numbers(-0.3, 0.3) * (column / WIDTH - 0.5))
    picture += numbers(0.01, 0.06) * rng.standard_normal(picture.shape)
    return np.clip(picture, 0, 1).astype(np.float32), direction[:, 0, 0]


def humps(direction: np.ndarray) -> np.ndarray:
    """The targets (n, DIRECTIONS) for directions (n,)."""
    places = np.arange(DIRECTIONS)
    return np.exp(-((places - direction[:, None]) ** 2) / HUMP).astype(np.float32)


def directions(outputs: np.ndarray) -> np.ndarray:
    """The direction (n,) that outputs (n, DIRECTIONS) stand for: the centre of mass about the highest."""
    places = np.arange(DIRECTIONS)
    near = abs(places - outputs.argmax(axis=1)[:, None]) <= REACH
    mass = np.where(near, np.maximum(outputs, 0), 0) + 1e-9 * near
    return (mass * places).sum(axis=1) / mass.sum(axis=1)


def normalised(pictures: np.ndarray) -> np.ndarray:
    """Each picture with mean 0 and standard deviation 1, so that brightness and contrast tell nothing."""
    mean = pictures.mean(axis=(1, 2), keepdims=True)
    return (pictures - mean) / (pictures.std(axis=(1, 2), keepdims=True) + 1e-6)


def build(hidden: int) -> tf.keras.Sequential:
    """960 pixels, ``hidden`` units, 30 directions."""
    model = tf.keras.Sequential(name="alvinn")
    model.add(tf.keras.Input(shape=(HEIGHT, WIDTH)))
    model.add(tf.keras.layers.Flatten(name="retina"))
    # The penalty keeps the weights of pixels that tell nothing near zero; without it they stay as random as they began.
    penalty = tf.keras.regularizers.L2(0.001)
    model.add(tf.keras.layers.Dense(hidden, activation="tanh", kernel_regularizer=penalty, name="hidden"))
    model.add(tf.keras.layers.Dense(DIRECTIONS, name="directions"))
    model.compile(optimizer=tf.keras.optimizers.Adam(learning_rate=0.002), loss="mse")
    return model


def as_text(values: np.ndarray) -> list[str]:
    """Numbers (rows, columns) as lines of characters, from dark to bright."""
    ramp = np.array(list(" .:-=+*#%@"))
    low, high = values.min(), values.max()
    levels = ((values - low) / (high - low + 1e-9) * (len(ramp) - 1) + 0.5).astype(int)
    return ["".join(row) for row in ramp[levels]]


def preview(model: tf.keras.Sequential, picture: np.ndarray, direction: float) -> None:
    """Print a road, the right and the found direction, and what the two hidden units of largest weights look at."""
    outputs = model.predict(normalised(picture[None]), verbose=0)
    kernel = model.get_layer("hidden").get_weights()[0].T.reshape(-1, HEIGHT, WIDTH)
    strongest = np.argsort(-(kernel**2).sum(axis=(1, 2)))[:2]
    # A character is about twice as high as wide, so two rows of pixels make one line.
    panels = [panel.reshape(-1, 2, WIDTH).mean(axis=1) for panel in (picture, *kernel[strongest])]
    print("   ".join(title.ljust(WIDTH) for title in ("a road", "weights of a hidden unit", "and of another")))
    for lines in zip(*(as_text(panel) for panel in panels)):
        print("   ".join(lines))
    print(f"found [{as_text(np.maximum(outputs, 0))[0]}] {directions(outputs)[0]:.1f}")
    print(f"right [{as_text(humps(np.array([direction])))[0]}] {direction:.1f}")


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Train and test; returns the mean absolute steering errors in outputs, of the network and of guessing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="passes over the roads (default: 20)")
    parser.add_argument("--train", type=int, default=6000, help="roads to train on (default: 6000)")
    parser.add_argument("--test", type=int, default=1000, help="roads to test on (default: 1000)")
    parser.add_argument("--hidden", type=int, default=4, help="hidden units (default: 4, as ALVINN had)")
    parser.add_argument("--seed", type=int, default=0, help="of the roads, the weights and the order (default: 0)")
    parser.add_argument("--preview", action="store_true", help="show a road and the weights as text")
    arguments = parser.parse_args(argv)
    tf.keras.utils.set_random_seed(arguments.seed)
    train_stream, test_stream = np.random.default_rng(arguments.seed).spawn(2)
    x_train, right_train = roads(arguments.train, train_stream)
    x_test, right = roads(arguments.test, test_stream)

    model = build(arguments.hidden)
    model.summary()
    model.fit(normalised(x_train), humps(right_train), epochs=arguments.epochs, verbose=2)
    found = directions(model.predict(normalised(x_test), verbose=0))
    error = float(np.abs(found - right).mean())
    guess = float(np.abs(np.median(right_train) - right).mean())
    if arguments.preview:
        preview(model, x_test[0], right[0])
    print(f"Steering error on {len(right)} new roads, of {DIRECTIONS} directions (mean absolute):")
    print(f"  network      {error:5.2f}  ({error / (DIRECTIONS - 1):6.2%} of the range)")
    print(f"  always ahead {guess:5.2f}  ({guess / (DIRECTIONS - 1):6.2%} of the range)")
    return {"error": error, "guess": guess, "fraction": error / (DIRECTIONS - 1), "parameters": model.count_params()}


if __name__ == "__main__":
    main()
