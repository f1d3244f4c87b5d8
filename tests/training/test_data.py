"""The ways data comes: arrays, lists, Tensors, dicts, generators, batches, datasets; splits, order and steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import gradlite
from gradlite import keras
from gradlite.keras import layers

Batch = tuple[np.ndarray, np.ndarray]


def make_data(samples: int = 20) -> Batch:
    x = np.random.default_rng(2).normal(size=(samples, 3)).astype("float32")
    return x, x @ np.array([[1.0], [2.0], [-1.0]], np.float32)


def make_model() -> Any:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    return model


def trained(*arguments: Any, **options: Any) -> list[np.ndarray]:
    """The weights after a fit of the same model, unshuffled."""
    model = make_model()
    model.fit(*arguments, **{"shuffle": False, "verbose": 0, "batch_size": 8, **options})
    return model.get_weights()


def batches(size: int = 8) -> Iterator[Batch]:
    x, y = make_data()
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def endless() -> Iterator[Batch]:
    while True:
        yield from batches()


class Squares(keras.utils.PyDataset):
    """The batches of ``batches``, with a diary of what was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = list(batches())
        self.diary: list[Any] = []

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        self.diary.append(index)
        return self.parts[index]

    def on_epoch_end(self) -> None:
        self.diary.append("end")


class Table:
    """What a table of pandas has of an array."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape = values.shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype)

    def __getitem__(self, rows: Any) -> Table:
        return Table(self.values[rows])

    def __iter__(self) -> Iterator[str]:
        return iter("abc")


X, Y = make_data()


WAYS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "float64": ((X.astype("float64"), Y.astype("float64")), {}),
    "lists of numbers": ((X.tolist(), Y.tolist()), {}),
    "labels of rank 1": ((X, Y[:, 0]), {}),
    "Tensors": ((gradlite.Tensor(X), gradlite.Tensor(Y, requires_grad=True)), {}),
    "one in a list": (([X], [Y]), {}),
    "one in a dict": (({"only": X}, Y), {}),
    "tables": ((Table(X), Table(Y)), {}),
    "Fortran order": ((np.asfortranarray(X), Y), {}),
    "generator": ((batches(),), {"batch_size": None}),
    "list of batches": ((list(batches()),), {}),
    "tuple of batches": ((tuple(batches()),), {}),
    "endless generator": ((endless(),), {"steps_per_epoch": 3}),
    "dataset": ((Squares(),), {}),
}


@pytest.mark.parametrize("way", WAYS)
def test_however_data_comes_the_same_steps_are_taken(way: str) -> None:
    arguments, options = WAYS[way]
    for found, expected in zip(trained(*arguments, **options), trained(X, Y)):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_batches_are_read_again_in_every_epoch() -> None:
    expected = trained(X, Y, epochs=3)
    for source in (list(batches()), Squares()):
        for found, wanted in zip(trained(source, epochs=3), expected):
            np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(trained(endless(), epochs=3, steps_per_epoch=3), expected):
        np.testing.assert_array_equal(found, wanted)


def test_a_model_of_several_inputs_takes_lists_and_dicts_of_arrays_or_of_lists() -> None:
    class Sum(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(1, kernel_initializer="ones")

        def call(self, inputs: Any) -> Any:
            left, right = inputs.values() if isinstance(inputs, dict) else inputs
            return self.dense(left) + right

    results = []
    for x in ([X, Y], {"left": X, "right": Y}, {"left": X.tolist(), "right": Y.tolist()}, [([X, Y], Y)]):
        model = Sum()
        model.compile("sgd", "mse")
        if isinstance(x, list) and isinstance(x[0], tuple):
            model.fit(x, verbose=0)
        else:
            model.fit(x, Y, batch_size=20, shuffle=False, verbose=0)
        results.append(model.get_weights()[0])
    for found in results[1:]:
        np.testing.assert_array_equal(found, results[0])


def test_bytes_reach_the_model_as_bytes_and_become_float32() -> None:
    seen = []

    class Look(layers.Layer):
        def call(self, inputs: Any) -> Any:
            seen.append(inputs.dtype)
            return inputs

        def compute_output_shape(self, input_shape: Any) -> Any:
            return input_shape

    model = keras.Sequential([Look(), layers.Flatten(), layers.Dense(2)])
    assert model.predict(np.ones((3, 4, 4), np.uint8), verbose=0).dtype == np.float32
    assert set(seen) == {np.dtype(np.uint8)}


def test_the_validation_split_is_the_end_of_the_data_before_it_is_shuffled() -> None:
    seen: list[set[float]] = [set(), set()]

    class Spy(keras.Sequential):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **rest: Any) -> Any:
            seen[rest["training"]].update(np.ravel(y.numpy()).tolist())
            return super().compute_loss(x, y, y_pred, **rest)

    numbers = np.arange(10.0)
    model = Spy([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)  # every step's Python code looks at its values
    model.fit(numbers[:, None], numbers, validation_split=0.25, batch_size=3, epochs=2, verbose=0)
    assert seen == [{7.0, 8.0, 9.0}, {0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0}]


@pytest.mark.parametrize(
    "validation", [(X, Y), [X, Y], (X, Y, np.ones(20)), list(batches()), Squares(), (X.tolist(), Y.tolist())]
)
def test_validation_data_may_be_arrays_or_batches(validation: Any) -> None:
    model = make_model()
    history = model.fit(X, Y, epochs=2, validation_data=validation, verbose=0).history
    assert history["val_loss"][1] == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-5)


def test_validation_begins_with_the_same_batches_every_time() -> None:
    model = make_model()
    model.optimizer.learning_rate = 0.0
    for validation in ((X, Y), list(batches(4)), Squares()):
        losses = model.fit(
            X, Y, epochs=3, validation_data=validation, validation_batch_size=4, validation_steps=2, verbose=0
        ).history["val_loss"]
        assert losses[0] == losses[1] == losses[2]
    assert losses[0] == pytest.approx(model.evaluate(X[:16], Y[:16], verbose=0), rel=1e-5)


def test_validation_is_made_as_often_as_asked() -> None:
    for frequency, expected in ((2, 2), ([1, 4, 5], 3)):
        history = make_model().fit(X, Y, epochs=5, validation_data=(X, Y), validation_freq=frequency, verbose=0).history
        assert len(history["val_loss"]) == expected


def test_a_validation_generator_that_is_used_up_warns_and_gives_no_value() -> None:
    with pytest.warns(UserWarning, match=r"ran out after 0 steps"):
        history = make_model().fit(X, Y, epochs=2, validation_data=batches(), verbose=0).history
    assert len(history["val_loss"]) == 1


def test_epochs_of_fewer_steps_go_on_through_arrays_where_the_last_one_ended() -> None:
    whole = trained(X, Y, epochs=3)
    for source in ((X, Y), (list(batches()),)):
        for found, expected in zip(trained(*source, epochs=9, steps_per_epoch=1), whole):
            np.testing.assert_array_equal(found, expected)
        for found, expected in zip(trained(*source, epochs=1, steps_per_epoch=9), whole):
            np.testing.assert_array_equal(found, expected)


def test_arrays_and_datasets_are_shuffled_anew_in_every_epoch_and_every_sample_is_seen_once() -> None:
    orders = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            orders.append([])

    class Look(keras.Sequential):
        def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, **rest: Any) -> Any:
            orders[-1].extend(np.ravel(y.numpy()).tolist())
            return super().compute_loss(x, y, y_pred, **rest)

    numbers = np.arange(10.0)
    model = Look([keras.Input((1,)), layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e-6), "mse", run_eagerly=True)  # every step's Python code looks at its values
    model.fit(numbers[:, None], numbers, batch_size=3, epochs=3, verbose=0, callbacks=[Spy()])
    assert all(sorted(order) == numbers.tolist() for order in orders)
    assert len({tuple(order) for order in orders} | {tuple(numbers)}) == 4


def test_a_dataset_is_asked_for_every_batch_once_an_epoch_and_told_when_one_ends() -> None:
    keras.utils.set_random_seed(0)
    dataset = Squares()
    make_model().fit(dataset, epochs=4, verbose=0)
    diary = dataset.diary[1:]  # before the first epoch one batch is looked at
    ends = [i for i, entry in enumerate(diary) if entry == "end"]
    epochs = [diary[a + 1 : b] for a, b in zip([-1, *ends], ends)]
    assert len(epochs) == 4
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs[1:])
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_data_that_runs_out_warns_where_fit_was_called() -> None:
    with pytest.warns(UserWarning, match=r"ran out after 3 of 5 steps") as caught:
        make_model().fit(batches(), steps_per_epoch=5, verbose=0)
    assert caught[0].filename == __file__


def test_predictions_of_batches_are_joined() -> None:
    model = make_model()
    whole = model.predict(X, verbose=0)
    assert whole.shape == (20, 1)
    for source in ((x for x, _ in batches()), list(batches()), Squares()):
        np.testing.assert_allclose(model.predict(source, verbose=0), whole, rtol=1e-5)
    np.testing.assert_allclose(model.predict(endless(), steps=2, verbose=0), whole[:16], rtol=1e-5)


def test_evaluating_batches_weighs_them_by_their_size() -> None:
    model = make_model()
    expected = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(list(batches(7)), verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(endless(), steps=3, verbose=0) == pytest.approx(expected, rel=1e-5)
    weighted = [(x, y, np.zeros(len(x))) for x, y in batches(7)]
    assert model.evaluate(weighted, verbose=0) == 0.0
