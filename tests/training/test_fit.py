"""What fit, evaluate and predict compute and report, against losses computed by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers

pytestmark = pytest.mark.usefixtures("each_device")


def make_data(samples: int = 22, classes: int = 3, features: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    y = rng.integers(0, classes, samples)
    return rng.normal(size=(samples, features)).astype("float32") + y[:, None], y


def make_model(
    loss: Any = "sparse_categorical_crossentropy", optimizer: Any = "sgd", metrics: Any = None, **options: Any
) -> Any:
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [keras.Input((4,)), layers.Dense(5, activation="tanh"), layers.Dense(3, activation="softmax")]
    )
    model.compile(optimizer, loss, metrics=metrics, **options)
    return model


def cross_entropies(model: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """One loss a sample, in float64."""
    p = model.predict(x, verbose=0).astype(np.float64)
    return -np.log(p[np.arange(len(y)), y])


class Recorder(keras.callbacks.Callback):
    """Writes down which hooks are called, and with which logs."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.logs: dict[str, Any] = {}

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("on_") or name in ("on_batch_begin", "on_batch_end"):
            return super().__getattribute__(name)

        def hook(*arguments: Any, logs: Any = None) -> None:
            self.calls.append(" ".join([name[3:], *(str(a) for a in arguments[:-1])]))
            self.logs[name[3:]] = dict(arguments[-1] or {})

        return hook


def test_the_loss_log_is_the_mean_over_samples_also_with_a_smaller_last_batch() -> None:
    x, y = make_data()
    model = make_model(optimizer=keras.optimizers.SGD(1e-12))
    expected = cross_entropies(model, x, y).mean()
    assert model.fit(x, y, batch_size=8, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, y, batch_size=5, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_the_loss_log_has_regularizers_and_added_losses_in_it() -> None:
    class Extra(layers.Layer):
        def call(self, inputs: Any) -> Any:
            self.add_loss(gradlite.mean(inputs))
            return inputs

    x, y = make_data()
    model = keras.Sequential([keras.Input((4,)), Extra(), layers.Dense(3, "softmax", kernel_regularizer="l1")])
    model.compile(keras.optimizers.SGD(1e-12), "sparse_categorical_crossentropy")
    penalty = 0.01 * abs(model.layers[1].kernel.numpy()).sum()
    expected = cross_entropies(model, x, y).mean() + x.mean() + penalty
    assert model.fit(x, y, batch_size=8, verbose=0).history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(x, y, batch_size=8, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_losses_that_layers_add_are_enough_to_train_without_labels() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activity_regularizer="l2")])
    model.compile(keras.optimizers.SGD(2.0))
    losses = model.fit(make_data()[0], epochs=9, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("one_hot", [False, True])
def test_class_weights_multiply_the_losses_of_their_classes_and_unlisted_classes_count_once(one_hot: bool) -> None:
    x, y = make_data()
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    model = make_model(loss, keras.optimizers.SGD(1e-12), metrics=["accuracy"])
    weights = np.where(y == 0, 0.5, np.where(y == 2, 3.0, 1.0))
    expected = (weights * cross_entropies(model, x, y)).mean()
    labels = np.eye(3)[y] if one_hot else y
    history = model.fit(x, labels, batch_size=8, class_weight={0: 0.5, 2: 3.0}, verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert history["accuracy"][0] == pytest.approx((model.predict(x, verbose=0).argmax(1) == y).mean())
    batches = [(x[:11], labels[:11]), (x[11:], labels[11:])]
    again = model.fit(batches, class_weight={0: 0.5, 2: 3.0}, verbose=0).history
    assert again["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_sample_weights_multiply_losses_and_weighted_metrics_only() -> None:
    x, y = make_data()
    weights = np.random.default_rng(1).uniform(0, 3, len(y)).astype("float32")
    model = make_model(metrics=["accuracy"], weighted_metrics=["sparse_categorical_accuracy"])
    model.optimizer.learning_rate = 1e-12
    expected = (weights * cross_entropies(model, x, y)).mean()
    hits = model.predict(x, verbose=0).argmax(1) == y
    logs = model.evaluate(x, y, batch_size=8, sample_weight=weights, verbose=0, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    assert logs["accuracy"] == pytest.approx(hits.mean())
    assert logs["sparse_categorical_accuracy"] == pytest.approx(np.average(hits, weights=weights), rel=1e-5)
    history = model.fit(x, y, batch_size=8, sample_weight=weights, validation_data=(x, y, weights), verbose=0).history
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


def test_the_losses_of_several_outputs_are_added_with_their_weights() -> None:
    class Two(keras.Model):
        def __init__(self, kind: type) -> None:
            super().__init__()
            self.kind, self.a, self.b = kind, layers.Dense(1), layers.Dense(3, activation="softmax")

        def call(self, inputs: Any) -> Any:
            a, b = self.a(inputs), self.b(inputs)
            return {"a": a, "b": b} if self.kind is dict else [a, b]

    x, y = make_data()
    target, sparse = x.sum(axis=1), "sparse_categorical_crossentropy"
    for kind, loss, factors, labels, metrics in (
        (dict, {"a": "mse", "b": sparse}, {"a": 0.5, "b": 2}, {"a": target, "b": y}, {"b": "accuracy"}),
        (list, ["mse", sparse], [0.5, 2.0], [target, y], [[], ["accuracy"]]),
    ):
        model = Two(kind)
        model.compile(keras.optimizers.SGD(1e-12), loss, loss_weights=factors, metrics=metrics)
        a, b = (model.predict(x, verbose=0)[key] for key in (("a", "b") if kind is dict else (0, 1)))
        expected = 0.5 * ((a[:, 0] - target) ** 2).mean() - 2 * np.log(b[np.arange(len(y)), y]).mean()
        history = model.fit(x, labels, batch_size=8, verbose=0).history
        assert history["loss"][0] == pytest.approx(expected, rel=1e-4)
        name = "b_accuracy" if kind is dict else "output_1_accuracy"
        assert history[name][0] == pytest.approx((b.argmax(1) == y).mean())
        weights = np.arange(len(y), dtype="float32")
        weighted = model.evaluate(x, labels, sample_weight=weights, verbose=0, return_dict=True)["loss"]
        errors = 0.5 * (a[:, 0] - target) ** 2 - 2 * np.log(b[np.arange(len(y)), y])
        assert weighted == pytest.approx((weights * errors).mean(), rel=1e-4)


def test_a_loss_may_be_a_function_or_an_override_of_compute_loss() -> None:
    def squared(y_true: Any, y_pred: Any) -> Any:
        return gradlite.sum(gradlite.square(y_true - y_pred), axis=-1)

    class Own(keras.Sequential):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None) -> Any:
            return gradlite.mean(squared(y, y_pred)) + 10.0

    x, y = make_data()
    labels = np.eye(3, dtype="float32")[y]
    model = make_model(squared)
    expected = ((model.predict(x, verbose=0) - labels) ** 2).sum(axis=1).mean()
    assert model.evaluate(x, labels, batch_size=7, verbose=0) == pytest.approx(expected, rel=1e-5)
    own = Own(model.layers)
    own.compile(keras.optimizers.SGD(1e-12))
    assert own.fit(x, labels, verbose=0).history["loss"][0] == pytest.approx(expected + 10, rel=1e-5)
    assert own.evaluate(x, labels, verbose=0) == pytest.approx(expected + 10, rel=1e-5)


# Metrics and what is returned.


@pytest.mark.parametrize(
    ("units", "activation", "loss", "labels", "kind"),
    [
        (1, "sigmoid", "binary_crossentropy", lambda y: y % 2, "BinaryAccuracy"),
        (3, "softmax", "sparse_categorical_crossentropy", lambda y: y, "SparseCategoricalAccuracy"),
        (3, "softmax", "sparse_categorical_crossentropy", lambda y: y[:, None], "SparseCategoricalAccuracy"),
        (3, "softmax", "categorical_crossentropy", lambda y: np.eye(3)[y], "CategoricalAccuracy"),
    ],
)
def test_accuracy_means_what_fits_the_labels(units: int, activation: str, loss: str, labels: Any, kind: str) -> None:
    x, y = make_data()
    model = keras.Sequential([keras.Input((4,)), layers.Dense(units, activation=activation)])
    model.compile("sgd", loss, metrics=["accuracy"])
    found = model.evaluate(x, labels(y), verbose=0)[1]
    p = model.predict(x, verbose=0)
    hits = (p[:, 0] > 0.5) == y % 2 if units == 1 else p.argmax(1) == y
    assert found == pytest.approx(hits.mean())
    assert type(model.metrics[1]).__name__ == kind
    assert model.metrics_names == ["loss", "accuracy"]


def test_evaluate_gives_a_number_a_list_or_a_dict() -> None:
    x, y = make_data()
    loss = make_model().evaluate(x, y, verbose=0)
    assert type(loss) is float
    model = make_model(metrics=["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=2, name="top2")])
    listed = model.evaluate(x, y, verbose=0)
    assert listed[0] == loss
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {
        "accuracy": listed[1], "loss": loss, "top2": listed[2]
    }  # fmt: skip


def test_metrics_of_ones_own_are_given_to_compile_or_belong_to_a_layer() -> None:
    class Largest(keras.metrics.Metric):
        def __init__(self, name: str) -> None:
            super().__init__(name=name)
            self.value = self.add_variable(shape=(), name="value")

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
            self.value.assign(gradlite.maximum(self.value, gradlite.max(y_pred)))

        def result(self) -> Any:
            return self.value

    x, y = make_data()
    model = make_model(metrics=[Largest("compiled")])
    model.own = Largest("own")
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0).history
    assert list(history) == ["compiled", "loss", "own"]
    assert model.evaluate(x, y, verbose=0)[1:] == pytest.approx([model.predict(x, verbose=0).max(), 0.0])


def test_metrics_of_one_name_are_told_apart_in_logs() -> None:
    x, y = make_data()
    model = make_model(metrics=["accuracy", "accuracy"], weighted_metrics=["accuracy"])
    weights = np.where(y == 0, 0.0, 1.0)
    logs = model.evaluate(x, y, sample_weight=weights, verbose=0, return_dict=True)
    hits = model.predict(x, verbose=0).argmax(1) == y
    assert list(logs) == ["accuracy", "accuracy_1", "loss", "weighted_accuracy"]
    assert logs["accuracy"] == logs["accuracy_1"] == pytest.approx(hits.mean())
    assert logs["weighted_accuracy"] == pytest.approx(hits[y > 0].mean())


def test_single_batches_are_trained_tested_and_predicted() -> None:
    x, y = make_data()
    model, reference = make_model(metrics=["accuracy"]), make_model()
    expected = cross_entropies(model, x, y).mean()
    assert model.test_on_batch(x, y)[0] == pytest.approx(expected, rel=1e-5)
    first = model.train_on_batch(x, y, return_dict=True)
    assert first["loss"] == pytest.approx(expected, rel=1e-5)
    reference.fit(x, y, batch_size=len(y), shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), reference.get_weights()):
        np.testing.assert_array_equal(a, b)
    then = cross_entropies(model, x, y).mean()
    assert model.train_on_batch(x, y)[0] == pytest.approx(then, rel=1e-5)
    np.testing.assert_allclose(model.predict_on_batch(x), model.predict(x, batch_size=6, verbose=0), rtol=1e-5)
    weights = np.linspace(0, 1, len(y))
    weighted = (weights * cross_entropies(model, x, y)).mean()
    assert model.train_on_batch(x, y, sample_weight=weights)[0] == pytest.approx(weighted, rel=1e-5)


def test_a_history_holds_python_floats_under_sorted_names() -> None:
    x, y = make_data()
    model = make_model(metrics=["accuracy"])
    history = model.fit(x, y, epochs=4, initial_epoch=1, validation_split=0.25, verbose=0)
    assert list(history.history) == ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert all(type(v) is float and len(values) == 3 for values in history.history.values() for v in values)
    assert history.epoch == [1, 2, 3]
    assert history.params == {"verbose": 0, "epochs": 4, "steps": 1}
    assert model.history is history


def test_callbacks_are_called_in_order_with_logs_of_the_epoch_so_far() -> None:
    x, y = make_data(6)
    recorder = Recorder()
    make_model(metrics=["accuracy"]).fit(
        x, y, batch_size=2, epochs=2, validation_split=0.5, validation_freq=[2], verbose=0, callbacks=[recorder]
    )
    train, test, predict = (
        [f"{mode}_batch_{part} {i}" for i in (0, 1) for part in ("begin", "end")]
        for mode in ("train", "test", "predict")
    )
    first = ["epoch_begin 0", *train, "epoch_end 0"]
    second = ["epoch_begin 1", *train, "test_begin", *test, "test_end", "epoch_end 1"]
    assert recorder.calls == ["train_begin", *first, *second, "train_end"]
    assert set(recorder.logs["train_batch_end"]) == {"accuracy", "loss"}
    assert set(recorder.logs["epoch_end"]) == {"accuracy", "loss", "val_accuracy", "val_loss"}
    assert recorder.logs["train_end"] == recorder.logs["epoch_end"]
    recorder.calls.clear()
    make_model().predict(x, batch_size=4, verbose=0, callbacks=[recorder])
    assert recorder.calls == ["predict_begin", *predict, "predict_end"]
    assert recorder.logs["predict_batch_end"]["outputs"].shape == (2, 3)


def test_callbacks_stop_and_slow_down_a_training() -> None:
    x, y = make_data()
    early = keras.callbacks.EarlyStopping("loss", min_delta=1e9, patience=2, restore_best_weights=True)
    slower = keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=1e9)
    model = make_model(optimizer=keras.optimizers.SGD(0.5))
    once = make_model(optimizer=keras.optimizers.SGD(0.5))
    history = model.fit(x, y, epochs=9, shuffle=False, verbose=0, callbacks=[early, slower])
    assert history.epoch == [0, 1, 2]
    assert history.history["learning_rate"] == [0.5, 0.5, 0.25]
    once.fit(x, y, shuffle=False, verbose=0)
    for a, b in zip(model.get_weights(), once.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_text_is_printed_as_verbose_says(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = make_data()
    model = make_model()
    model.fit(x, y, epochs=2, verbose=0, validation_split=0.2)
    assert capsys.readouterr().out == ""
    model.fit(x, y, epochs=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[::2] == ["Epoch 1/2", "Epoch 2/2"]
    assert lines[1].startswith("1/1 - ")
    assert f"loss: {model.history.history['loss'][0]:.4f}" in lines[1]
    for verbose in (1, "auto"):
        model.evaluate(x, y, batch_size=11, verbose=verbose)
        assert "2/2" in capsys.readouterr().out
    model.predict(x, verbose=2)
    assert capsys.readouterr().out.startswith("1/1 - ")


# Optimizers in a whole training.

OPTIMIZERS = ["sgd", "rmsprop", "adam", "adamw", "nadam", "adamax", "adagrad", "adadelta", "lion"]
RATES = {"sgd": 0.3, "adagrad": 0.3, "adadelta": 3.0}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_by_name_learns(name: str) -> None:
    x, y = make_data(60)
    model = make_model(optimizer=name, metrics=["accuracy"])
    model.optimizer.learning_rate = RATES.get(name, 0.02)
    history = model.fit(x, y, batch_size=10, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert history["accuracy"][-1] > 0.6


def test_a_model_in_float64_trains_in_float64() -> None:
    x, y = make_data(60)
    keras.backend.set_floatx("float64")
    try:
        model = make_model(optimizer="adam")
        losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        expected = cross_entropies(model, x, y).mean()
        found = model.evaluate(x, y, verbose=0)
    finally:
        keras.backend.set_floatx("float32")
    assert {w.dtype for w in model.weights} == {np.dtype("float64")}
    assert losses[-1] < losses[0]
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_schedule_is_followed_step_by_step() -> None:
    x, y = make_data(12)
    rate = keras.optimizers.schedules.PiecewiseConstantDecay([2, 4], [0.5, 0.0, 0.25])
    scheduled, by_hand = (make_model(optimizer=keras.optimizers.SGD(r)) for r in (rate, 0.5))
    scheduled.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    # Steps 0, 1 and 2 at 0.5, then two that change nothing, then one at 0.25.
    by_hand.fit(x[:6], y[:6], batch_size=2, shuffle=False, verbose=0)
    by_hand.optimizer.learning_rate = 0.25
    by_hand.fit(x[10:], y[10:], batch_size=2, shuffle=False, verbose=0)
    for a, b in zip(scheduled.get_weights(), by_hand.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_accumulated_gradients_of_small_batches_make_the_step_of_a_large_one() -> None:
    x, y = make_data(20)
    small = make_model(optimizer=keras.optimizers.SGD(0.3, gradient_accumulation_steps=5))
    large = make_model(optimizer=keras.optimizers.SGD(0.3))
    small.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    large.fit(x, y, batch_size=20, epochs=3, shuffle=False, verbose=0)
    for a, b in zip(small.get_weights(), large.get_weights()):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_at_the_end_of_training_weights_become_their_averages() -> None:
    x, y = make_data(6)
    averaged = make_model(optimizer=keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.75))
    plain = make_model(optimizer=keras.optimizers.SGD(0.5))
    plain.fit(x[:2], y[:2], verbose=0)
    average = [w.astype(np.float64) for w in plain.get_weights()]  # the first step's weights begin it
    for start in (2, 4):
        plain.fit(x[start : start + 2], y[start : start + 2], verbose=0)
        average = [0.75 * a + 0.25 * w for a, w in zip(average, plain.get_weights())]
    averaged.fit(x, y, batch_size=2, shuffle=False, verbose=0)
    for found, expected in zip(averaged.get_weights(), average):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_frozen_layers_stay_and_learn_again_with_the_same_optimizer_once_they_are_freed(optimizer: str) -> None:
    x, y = make_data(40)
    model = make_model(optimizer=optimizer)
    hidden, output = model.layers
    hidden.trainable = False
    before = hidden.get_weights(), output.get_weights()
    model.fit(x, y, epochs=2, verbose=0)
    for a, b in zip(hidden.get_weights(), before[0]):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(output.get_weights()[0], before[1][0])
    hidden.trainable = True
    losses = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    assert not np.array_equal(hidden.get_weights()[0], before[0][0])
    assert losses[-1] < losses[0]
    assert int(model.optimizer.iterations.numpy()) == 22 * 2
