"""Steps that are recorded once and replayed: the same bits as eager ones, whatever changes between steps."""

from __future__ import annotations

import gc
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras, nn
from gradlite.keras import layers
from gradlite.training import replay

X = np.random.default_rng(0).standard_normal((22, 4)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 22)

pytestmark = pytest.mark.usefixtures("each_device")


def small_model() -> Any:
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, activation="relu", kernel_regularizer="l2"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Dense(3, activation="softmax"),
        ]
    )


def trained(
    eager: bool, make: Callable[[], Any] = small_model, x: Any = X, y: Any = Y, compiled: Any = None, **fit: Any
) -> tuple[Any, list[bytes]]:
    """The history and the bits of all weights after two epochs, with a smaller last batch."""
    keras.utils.set_random_seed(4)
    model = make()
    options = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**{**options, **(compiled() if compiled else {})}, run_eagerly=eager)
    arguments = {"batch_size": 8, "epochs": 2, "verbose": 0, **{k: v() if callable(v) else v for k, v in fit.items()}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(x() if callable(x) else x, None if callable(x) else y, **arguments)
    return history.history, [w.tobytes() for w in model.get_weights()]


def assert_same(*arguments: Any, **options: Any) -> None:
    assert trained(True, *arguments, **options) == trained(False, *arguments, **options)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each replay of a program."""
    done: list[int] = []
    original = replay.Program.replay

    def counted(self: Any, times: int = 1) -> None:
        done.extend([1] * times)
        original(self, times)

    monkeypatch.setattr(replay.Program, "replay", counted)
    return done


def test_all_but_the_first_two_steps_of_a_kind_are_replayed(replays: list[int]) -> None:
    trained(False, epochs=3)
    assert len(replays) == (6 - 2) + (3 - 2)  # batches of 8, 8 and 6: one is run, one is recorded
    replays.clear()
    trained(True)
    assert not replays


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    name: lambda name=name: keras.optimizers.get(name)
    for name in ("sgd", "rmsprop", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion")
} | {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "amsgrad": lambda: keras.optimizers.Adam(amsgrad=True),
    "centered": lambda: keras.optimizers.RMSprop(centered=True, momentum=0.5),
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1),
    "clipvalue": lambda: keras.optimizers.Adam(clipvalue=0.01),
    "global clipnorm": lambda: keras.optimizers.Adam(global_clipnorm=0.1),
    "weight decay": lambda: keras.optimizers.Adam(weight_decay=0.1),
    "ema": lambda: keras.optimizers.Adam(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=2),
    "accumulation": lambda: keras.optimizers.Adam(gradient_accumulation_steps=2),
    "schedule": lambda: keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)),
    "cosine": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 4)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_take_the_same_steps(name: str) -> None:
    assert_same(compiled=lambda: {"optimizer": OPTIMIZERS[name]()})


def wide_model() -> Any:
    """Several dropouts, and scores that are logits."""
    drops = [layers.Dropout(0.2 * i, seed=i) for i in (1, 2, 3)]
    hidden = [layers.Dense(6, activation="relu"), layers.BatchNormalization()]
    return keras.Sequential([keras.Input((4,)), *hidden, *drops, layers.Dense(3)])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_classifiers_of_rows_of_labels_take_the_same_steps(smoothing: float) -> None:
    def compiled() -> dict[str, Any]:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
        return {"loss": loss, "metrics": ["accuracy", keras.metrics.TopKCategoricalAccuracy(2)]}

    assert_same(wide_model, y=np.eye(3, dtype=np.float32)[Y], compiled=compiled)
    assert_same(small_model, y=np.eye(3)[Y], compiled=lambda: {"loss": "categorical_crossentropy"})


def test_classifiers_of_logits_take_the_same_steps() -> None:
    assert_same(wide_model, compiled=lambda: {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True)})


def test_the_number_of_the_step_is_counted_in_replays_too() -> None:
    for make in (small_model, wide_model):
        model = make()
        model.compile("adam", "sparse_categorical_crossentropy" if make is small_model else "mse")
        model.fit(X, Y if make is small_model else np.eye(3)[Y], batch_size=8, epochs=3, verbose=0)
        assert int(model.optimizer.iterations.item()) == 9


def test_a_learning_rate_that_is_a_function_is_asked_before_every_step() -> None:
    asked: dict[bool, list[float]] = {True: [], False: []}
    found = {}
    for eager in (True, False):

        def rate(eager: bool = eager) -> float:
            asked[eager].append(0.1 / (1 + len(asked[eager])))
            return asked[eager][-1]

        found[eager] = trained(eager, compiled=lambda rate=rate: {"optimizer": keras.optimizers.SGD(rate)})
    assert found[True] == found[False]
    assert asked[True] == asked[False]


CLASSES = np.eye(3, dtype=np.float32)[Y]
LOSSES: dict[str, Any] = {
    "categorical_crossentropy": CLASSES,
    "binary_crossentropy": CLASSES,
    **dict.fromkeys(
        (
            "mse", "mae", "mape", "msle", "huber", "log_cosh", "hinge", "squared_hinge", "categorical_hinge",
            "kl_divergence", "poisson", "cosine_similarity",
        ),
        CLASSES,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses_give_the_same_steps(name: str) -> None:
    assert_same(y=LOSSES[name], compiled=lambda: {"loss": name, "metrics": ["mse"]})


METRICS = ["mae", "cosine_similarity", "categorical_accuracy", "top_k_categorical_accuracy"]


def test_metrics_count_the_same() -> None:
    kinds = keras.metrics
    assert_same(
        y=CLASSES,
        compiled=lambda: {
            "loss": "categorical_crossentropy",
            "metrics": [*METRICS, kinds.Precision(name="p"), kinds.Recall(name="r"), kinds.AUC(name="auc")],
            "weighted_metrics": ["mse", kinds.RootMeanSquaredError(name="rmse")],
        },
        sample_weight=np.linspace(0, 1, 22),
    )


IMAGE, SEQUENCE, ROW = (6, 6, 2), (6, 4), (8,)
LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], Any]]] = {
    "conv1d": (SEQUENCE, lambda: layers.Conv1D(3, 2, activation="tanh")),
    "conv2d": (IMAGE, lambda: layers.Conv2D(3, 3, padding="same", activation="relu")),
    "conv2d strided": (IMAGE, lambda: layers.Conv2D(4, 2, strides=2, groups=2)),
    "conv2d transpose": (IMAGE, lambda: layers.Conv2DTranspose(2, 3, strides=2)),
    "depthwise": (IMAGE, lambda: layers.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable": (IMAGE, lambda: layers.SeparableConv2D(3, 3)),
    "max pooling": (IMAGE, lambda: layers.MaxPooling2D()),
    "average pooling": (IMAGE, lambda: layers.AveragePooling2D(3, strides=1, padding="same")),
    "global pooling": (IMAGE, lambda: layers.GlobalAveragePooling2D()),
    "global max pooling": (SEQUENCE, lambda: layers.GlobalMaxPooling1D()),
    "batch norm": (IMAGE, lambda: layers.BatchNormalization()),
    "layer norm": (ROW, lambda: layers.LayerNormalization()),
    "group norm": (IMAGE, lambda: layers.GroupNormalization(2)),
    "dropout": (ROW, lambda: layers.Dropout(0.5)),
    "spatial dropout": (IMAGE, lambda: layers.SpatialDropout2D(0.5)),
    "noise": (ROW, lambda: layers.GaussianNoise(0.1)),
    "padding": (IMAGE, lambda: layers.ZeroPadding2D(1)),
    "upsampling": (IMAGE, lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "reshape": (ROW, lambda: layers.Reshape((2, 4))),
    "prelu": (ROW, lambda: layers.PReLU()),
    "leaky relu": (ROW, lambda: layers.LeakyReLU()),
    "elu": (ROW, lambda: layers.ELU()),
    "softmax": (ROW, lambda: layers.Softmax()),
    "gelu": (ROW, lambda: layers.Activation("gelu")),
    "rescaling": (ROW, lambda: layers.Rescaling(0.5)),
    "lambda": (ROW, lambda: layers.Lambda(nn.silu)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_the_same(name: str) -> None:
    shape, make = LAYERS[name]
    x = np.random.default_rng(2).standard_normal((22, *shape)).astype(np.float32)
    assert_same(
        lambda: keras.Sequential(
            [keras.Input(shape), layers.Reshape(shape), make(), layers.Flatten(), layers.Dense(3, activation="softmax")]
        ),
        x,
    )


def test_an_embedding_of_integers_computes_the_same() -> None:
    x = np.random.default_rng(2).integers(0, 9, (22, 5))
    assert_same(
        lambda: keras.Sequential([layers.Embedding(9, 4), layers.Flatten(), layers.Dense(3, activation="softmax")]), x
    )


class TwoHeads(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3, activation="softmax"), layers.Dense(1)

    def call(self, x: Any) -> Any:
        return {"kind": self.first(x), "size": self.second(x)}


def test_a_model_of_two_outputs_trains_the_same() -> None:
    assert_same(
        TwoHeads,
        y={"kind": Y, "size": X[:, :1]},
        compiled=lambda: {
            "loss": {"kind": "sparse_categorical_crossentropy", "size": "mse"},
            "loss_weights": {"kind": 1.0, "size": 0.5},
            "metrics": {"kind": ["accuracy"]},
        },
    )


def test_weights_of_classes_and_validation_make_no_difference() -> None:
    assert_same(class_weight={0: 1.0, 1: 2.0}, validation_data=(X, Y))
    assert_same(validation_split=0.25, shuffle=False)


def test_batches_from_a_generator_train_the_same() -> None:
    def batches() -> Iterator[Any]:
        while True:
            for size in (8, 5, 8, 8):
                yield X[:size] * size, Y[:size]

    assert_same(x=batches, steps_per_epoch=7, batch_size=None)


class ChangesThings(keras.callbacks.Callback):
    """Changes, between steps, what a recorded step might have kept."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        model = self.model
        if batch == 1:
            model.optimizer.learning_rate = 0.5 * float(model.optimizer.learning_rate)
            model.layers[0].set_weights([0.9 * w for w in model.layers[0].get_weights()])
        if batch == 3:
            moving = model.layers[1].moving_mean
            moving.data = moving.backend.copy(moving.data)  # the same variable in other memory

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.layers[1 if epoch == 2 else 0].trainable = epoch == 3


def test_what_callbacks_change_between_steps_counts_from_the_next_step_on() -> None:
    assert_same(batch_size=3, epochs=4, callbacks=lambda: [ChangesThings()])


def test_a_step_that_reads_values_trains_eagerly_after_one_warning_that_names_the_line() -> None:
    class Reads(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2 if x.sum().item() > 0 else x

    def make() -> Any:
        return keras.Sequential([keras.Input((4,)), Reads(), layers.Dense(3, activation="softmax")])

    expected = trained(True, make)
    keras.utils.set_random_seed(4)
    model = make()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with pytest.warns(UserWarning, match=r"not captured.*test_captured_steps.py, line \d+: return x \* 2") as caught:
        history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert len(caught) == 1
    assert (history.history, [w.tobytes() for w in model.get_weights()]) == expected


def test_a_step_that_there_is_no_memory_to_record_trains_eagerly_after_one_warning(
    backend: Any, monkeypatch: Any
) -> None:
    expected = trained(True)
    keras.utils.set_random_seed(4)
    model = small_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    monkeypatch.setattr(backend, "memory_stats", lambda: {"used": 0, "pooled": 100, "free": 900, "total": 1000})
    with pytest.warns(UserWarning, match=r"not captured.*takes 0 MiB, and (cpu|gpu:0) has 0 left") as caught:
        history = model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert len(caught) == 1
    assert (history.history, [w.tobytes() for w in model.get_weights()]) == expected


def test_labels_of_later_batches_are_checked_before_a_replay() -> None:
    good, bad = (X[:8], Y[:8]), (X[:8], np.full(8, 7))
    model = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="7"):
        model.fit(iter([good, good, bad]), verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_an_error_in_the_middle_of_an_epoch_leaves_a_model_that_trains_on() -> None:
    class Stops(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                raise KeyboardInterrupt

    model = small_model()
    model.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=4, verbose=0, callbacks=[Stops()])
    assert int(model.optimizer.iterations) == 2
    losses = model.fit(X, Y, batch_size=4, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]


def test_evaluation_is_captured_too_and_gives_the_same_scores(replays: list[int]) -> None:
    scores = []
    for eager in (True, False):
        keras.utils.set_random_seed(4)
        model = small_model()
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=eager)
        scores.append(model.evaluate(X, Y, batch_size=6, verbose=0))
    assert scores[0] == scores[1]
    assert len(replays) == 1  # batches of 6, 6, 6 and 4


def test_predictions_are_captured_too_and_are_the_same(replays: list[int]) -> None:
    for make in (small_model, TwoHeads):
        model = make()
        model.compile("adam", "mse")
        replays.clear()
        whole = model.predict(X, batch_size=22, verbose=0)
        assert not replays
        parts = model.predict(X, batch_size=4, verbose=0)
        assert len(replays) == 3  # batches of 4, 4, 4, 4, 4 and 2
        for a, b in zip(whole.values(), parts.values()) if isinstance(whole, dict) else [(whole, parts)]:
            np.testing.assert_allclose(a, b, rtol=1e-6)


def test_models_predict_and_train_in_several_threads_at_once() -> None:
    model = small_model()
    model.compile("adam", "sparse_categorical_crossentropy")
    expected = model.predict(X, batch_size=22, verbose=0)
    x, device = np.tile(X, (20, 1)), gradlite.get_device()

    def work(number: int) -> float:
        with gradlite.device(device):
            if number == 0:
                other = small_model()
                other.compile("adam", "sparse_categorical_crossentropy")
                return float(not np.isfinite(other.fit(x, np.tile(Y, 20), batch_size=5, verbose=0).history["loss"][-1]))
            return float(abs(model.predict(x, batch_size=2 + number, verbose=0)[:22] - expected).max())

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(work, range(4))) < 1e-5


def test_replayed_steps_leave_no_memory_behind() -> None:
    model = small_model()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, batch_size=1, epochs=2, verbose=0)
    left = []
    for repeats in (1, 1, 12):
        tracemalloc.start()
        model.fit(np.tile(X, (repeats, 1)), np.tile(Y, repeats), batch_size=1, verbose=0)
        gc.collect()
        left.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    # Interpreter and NumPy keep some small things for later; one array of every step would be more.
    assert left[2] - left[1] < 200 * (264 - 22)
