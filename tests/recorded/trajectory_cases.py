"""Training runs recorded from Keras: the two lecture networks, their data and their weights, all made from names.

Imported by the recorder and by gradlite's tests; see `layer_cases`. `keras` is always the package a function is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fixed_arrays import integers, uniform

STEPS = 50
CLASSES = 10


@dataclass(frozen=True)
class TrajectoryCase:
    """A network trained for `steps` batches by one optimizer; what is compared is the loss of every batch.

    `gentle`: start with ReLU inputs away from zero and a flat head (see `initial_weights`). `tolerance`: the relative
    difference allowed in any loss. `why` says what was chosen so that the run can be compared at all.
    """

    name: str
    network: str
    optimizer: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    why: str = "the optimizer's defaults"
    dtype: str = "float32"
    steps: int = STEPS
    gentle: bool = False
    tolerance: float = 1e-4


def mnist_network(keras: Any) -> Any:
    """784-512-10 as in the lecture, without dropout."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((784,)),
            layers.Dense(512, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ]
    )


def shallow_vgg(keras: Any) -> Any:
    """The lecture's ShallowVGGNet for (32, 32, 3) images, without dropout."""
    layers = keras.layers
    stack = [layers.Input((32, 32, 3))]
    for filters in (32, 64):
        for _ in range(2):
            stack += [
                layers.Conv2D(filters, (3, 3), padding="same"),
                layers.Activation("relu"),
                layers.BatchNormalization(),
            ]
        stack.append(layers.MaxPooling2D((2, 2)))
    stack += [
        layers.Flatten(),
        layers.Dense(512),
        layers.Activation("relu"),
        layers.BatchNormalization(),
        layers.Dense(CLASSES),
        layers.Activation("softmax"),
    ]
    return keras.Sequential(stack)


NETWORKS = {"mnist": (mnist_network, (784,), 32), "shallow_vgg": (shallow_vgg, (32, 32, 3), 16)}


def build(keras: Any, case: TrajectoryCase) -> Any:
    """The compiled network with its fixed initial weights."""
    make, _, _ = NETWORKS[case.network]
    model = make(keras)
    model.set_weights(initial_weights(case, [w.shape for w in model.weights]))
    optimizer = getattr(keras.optimizers, case.optimizer)(**case.kwargs)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def initial_weights(case: TrajectoryCase, shapes: list[Any]) -> list[np.ndarray]:
    """Glorot-uniform kernels and the usual constants: up to five vectors follow a kernel.

    A gentle start has biases of 1.5 and a factor of 0.3 in the last batch normalization: fewer ReLUs then switch by
    rounding alone, and each switch, which changes a gradient at once, matters less.
    """
    weights = []
    vectors = 0
    for position, shape in enumerate(tuple(shape) for shape in shapes):
        if len(shape) > 1:
            receptive = int(np.prod(shape[:-2]))
            limit = np.sqrt(6.0 / (receptive * (shape[-2] + shape[-1])))
            weights.append(uniform(f"trajectory/{case.network}/{position}", shape, -limit, limit))
            vectors = 0
            continue
        # bias, gamma, beta, moving mean, moving variance
        value = (0.0, 1.0, 0.0, 0.0, 1.0)[vectors]
        if case.gentle and vectors == 0 and position < len(shapes) - 1:
            value = 1.5
        if case.gentle and vectors == 1 and position == len(shapes) - 6:
            value = 0.3
        weights.append(np.full(shape, value, np.float32))
        vectors += 1
    return weights


def batch(network: str, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of one step: a smooth pattern for each class and noise, in [0, 1] or (for images) about 0."""
    _, shape, size = NETWORKS[network]
    labels = integers(f"trajectory/{network}/labels/{step}", (size,), 0, CLASSES)
    side, channels = (28, 1) if network == "mnist" else (32, 3)
    patterns = smooth_patterns(network, side, channels)[labels]
    key = f"trajectory/{network}/noise/{step}"
    if network == "mnist":
        brightness = uniform(f"trajectory/{network}/brightness/{step}", (size, 1, 1, 1), 0.6, 1.0)
        images = 0.5 * patterns * brightness + uniform(key, patterns.shape, 0.0, 0.5)
    else:
        images = 6.0 * (patterns - 0.5) + uniform(key, patterns.shape, -2.0, 2.0)
    return images.astype(np.float32).reshape((size, *shape)), labels


def smooth_patterns(network: str, side: int, channels: int) -> np.ndarray:
    """(classes, side, side, channels) blurred random 4-pixel tiles: sums and products only, the same on any machine."""
    tiles = uniform(f"trajectory/{network}/patterns", (CLASSES, side // 4, side // 4, channels), 0.0, 1.0)
    images = np.repeat(np.repeat(tiles, 4, axis=1), 4, axis=2).astype(np.float64)
    for _ in range(2):
        for axis in (1, 2):
            images = (np.roll(images, 1, axis) + 2.0 * images + np.roll(images, -1, axis)) / 4.0
    return images.astype(np.float32)


def losses(keras: Any, case: TrajectoryCase, move: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """The loss of each batch, as float64. `move`, if given, is applied to each initial weight."""
    before = keras.backend.floatx()
    keras.backend.set_floatx(case.dtype)
    try:
        model = build(keras, case)
        if move is not None:
            model.set_weights([move(w) for w in model.get_weights()])
        values = []
        for step in range(case.steps):
            x, y = batch(case.network, step)
            model.reset_metrics()  # train_on_batch returns a running mean
            values.append(float(model.train_on_batch(x.astype(case.dtype), y)[0]))
    finally:
        keras.backend.set_floatx(before)
    return np.asarray(values)


@dataclass(frozen=True)
class FitCase:
    """`fit`, `evaluate`, `predict` on a small network, without shuffling; `outputs` 1 is a sigmoid, 3 a softmax.

    `weights`: pass a sample weight for each row. `regularized`: an L2 kernel regularizer. `compile_options` and
    `fit_options` are passed on as they are.
    """

    name: str
    compile_options: dict[str, Any]
    fit_options: dict[str, Any] = field(default_factory=dict)
    outputs: int = 3
    weights: bool = False
    regularized: bool = False


FIT_ROWS = 45


def fit_data(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(45, 6) inputs, integer labels in a smooth relation to them, and sample weights."""
    x = uniform("fit/x", (FIT_ROWS, 6), -3.0, 3.0)
    y = np.argmax(x[:, :3] + 0.3 * x[:, 3:], axis=1).astype(np.int32)
    weights = uniform("fit/weights", (FIT_ROWS,), 0.0, 2.0)
    return x, (y == 0).astype(np.int32) if outputs == 1 else y, weights


def fit_network(keras: Any, case: FitCase) -> Any:
    """A compiled 6-8-outputs network with fixed weights."""
    layers = keras.layers
    regularizer = keras.regularizers.L2(0.02) if case.regularized else None
    model = keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, activation="tanh", kernel_regularizer=regularizer),
            layers.Dense(case.outputs, activation="sigmoid" if case.outputs == 1 else "softmax"),
        ]
    )
    model.set_weights([uniform(f"fit/weight{i}", tuple(w.shape), -0.5, 0.5) for i, w in enumerate(model.weights)])
    model.compile(**case.compile_options)
    return model


def run_fit(keras: Any, case: FitCase) -> dict[str, Any]:
    """What training, evaluating and predicting return, as plain data."""
    model = fit_network(keras, case)
    x, y, weights = fit_data(case.outputs)
    options = dict(case.fit_options)
    if "class_weight" in options:
        options["class_weight"] = {int(label): weight for label, weight in options["class_weight"].items()}
    given = {"sample_weight": weights} if case.weights else {}
    history = model.fit(x, y, batch_size=8, shuffle=False, verbose=0, **given, **options)
    evaluated = model.evaluate(x, y, batch_size=16, verbose=0, **given)
    as_dict = model.evaluate(x, y, batch_size=16, verbose=0, return_dict=True, **given)
    return {
        "history": {key: [float(v) for v in values] for key, values in history.history.items()},
        "epoch": [int(e) for e in history.epoch],
        "params": dict(history.params),
        "evaluate": [float(v) for v in evaluated] if isinstance(evaluated, list) else float(evaluated),
        "evaluate_dict": {key: float(v) for key, v in as_dict.items()},
        "predict": np.asarray(model.predict(x[:3], verbose=0)).astype(np.float64).tolist(),
        "train_on_batch": [np.asarray(model.train_on_batch(x[:8], y[:8])).tolist() for _ in range(3)],
        "test_on_batch": np.asarray(model.test_on_batch(x[8:20], y[8:20])).tolist(),
    }


_SPARSE = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy"}
FITS = [
    FitCase("loss_only", {**_SPARSE}, {"epochs": 2}),
    FitCase("accuracy", {**_SPARSE, "metrics": ["accuracy"]}, {"epochs": 3}),
    FitCase("validation_split", {**_SPARSE, "metrics": ["accuracy"]}, {"epochs": 3, "validation_split": 0.3}),
    FitCase(
        "validation_freq", {**_SPARSE, "metrics": ["acc"]}, {"epochs": 4, "validation_split": 0.3, "validation_freq": 2}
    ),
    FitCase(
        "steps_and_initial_epoch",
        {**_SPARSE, "metrics": ["accuracy"]},
        {"epochs": 4, "initial_epoch": 2, "steps_per_epoch": 3},
    ),
    FitCase(
        "binary",
        {"optimizer": "rmsprop", "loss": "binary_crossentropy", "metrics": ["accuracy"]},
        {"epochs": 3},
        outputs=1,
    ),
    FitCase(
        "class_weight",
        {**_SPARSE, "metrics": ["accuracy"], "weighted_metrics": ["accuracy"]},
        {"epochs": 3, "class_weight": {"0": 2.0, "2": 0.5}},
    ),
    FitCase(
        "sample_weight",
        {**_SPARSE, "metrics": ["accuracy"], "weighted_metrics": ["sparse_categorical_crossentropy"]},
        {"epochs": 3},
        weights=True,
    ),
    FitCase(
        "sample_weight_split",
        {**_SPARSE, "weighted_metrics": ["accuracy"]},
        {"epochs": 3, "validation_split": 0.25},
        weights=True,
    ),
    FitCase(
        "regularized",
        {"optimizer": "sgd", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        {"epochs": 3, "validation_split": 0.2},
        regularized=True,
    ),
    FitCase(
        "several_metrics", {"optimizer": "sgd", "loss": "mse", "metrics": ["mae", "mse"]}, {"epochs": 2}, outputs=1
    ),
]

_LOW_RATE = "a lower learning rate: at the default one a ReLU that rounding switches moves later losses by percents"
_STEADY = "a lower learning rate and a larger epsilon: with 1e-7 Adam's first steps enlarge gradients that are rounding"
_GENTLE: dict[str, Any] = {"gentle": True}
_DOUBLE: dict[str, Any] = {
    "dtype": "float64",
    "steps": 15,
    "tolerance": 1e-9,
    "why": "the default learning rate, which is too sensitive to rounding for float32",
}
CASES = [
    TrajectoryCase("mnist_sgd", "mnist", "SGD", {"learning_rate": 0.01}),
    TrajectoryCase("mnist_rmsprop", "mnist", "RMSprop"),
    TrajectoryCase("mnist_adam", "mnist", "Adam"),
    TrajectoryCase(
        "mnist_adamw",
        "mnist",
        "AdamW",
        {"epsilon": 1e-5},
        why="with epsilon 1e-7 one run in four moves by 6e-4: a unit that wakes up by rounding gets a full step",
    ),
    TrajectoryCase(
        "mnist_nadam",
        "mnist",
        "Nadam",
        {"epsilon": 1e-4},
        why="with epsilon 1e-7 it moves by 2e-3 when 1 - beta_2 ** t is rounded differently, off by 1e-5 in float32",
    ),
    TrajectoryCase("mnist_adagrad", "mnist", "Adagrad"),
    TrajectoryCase("shallow_vgg_sgd", "shallow_vgg", "SGD", {"learning_rate": 1e-4}, why=_LOW_RATE, **_GENTLE),
    TrajectoryCase("shallow_vgg_rmsprop", "shallow_vgg", "RMSprop", {"learning_rate": 1e-5}, why=_LOW_RATE, **_GENTLE),
    TrajectoryCase(
        "shallow_vgg_adam", "shallow_vgg", "Adam", {"learning_rate": 1e-5, "epsilon": 1e-4}, why=_STEADY, **_GENTLE
    ),
    TrajectoryCase(
        "shallow_vgg_adamw", "shallow_vgg", "AdamW", {"learning_rate": 1e-5, "epsilon": 1e-4}, why=_STEADY, **_GENTLE
    ),
    TrajectoryCase(
        "shallow_vgg_nadam", "shallow_vgg", "Nadam", {"learning_rate": 1e-5, "epsilon": 1e-4}, why=_STEADY, **_GENTLE
    ),
    TrajectoryCase("shallow_vgg_adagrad", "shallow_vgg", "Adagrad", {"learning_rate": 1e-4}, why=_LOW_RATE, **_GENTLE),
    TrajectoryCase("mnist_float64_adamw", "mnist", "AdamW", **_DOUBLE),
    TrajectoryCase("mnist_float64_nadam", "mnist", "Nadam", **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_sgd", "shallow_vgg", "SGD", {"learning_rate": 0.01}, **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_rmsprop", "shallow_vgg", "RMSprop", **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_adam", "shallow_vgg", "Adam", **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_adamw", "shallow_vgg", "AdamW", **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_nadam", "shallow_vgg", "Nadam", **_DOUBLE),
    TrajectoryCase("shallow_vgg_float64_adagrad", "shallow_vgg", "Adagrad", **_DOUBLE),
]
