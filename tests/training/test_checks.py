"""Wrong input to compile, fit and evaluate: a clear error, and nothing is changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradlite import keras
from gradlite.keras import layers
from gradlite.training.checks import warn_of_missing_numbers

pytestmark = pytest.mark.usefixtures("each_device")

X = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
Y = np.arange(12) % 3
ONE_HOT = np.eye(3, dtype="float32")[Y]
SPARSE, CATEGORICAL, BINARY = "sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"


def make_model(loss: Any = SPARSE, units: int = 3, **options: Any) -> Any:
    activation = "softmax" if units > 1 else "sigmoid"
    model = keras.Sequential(
        [keras.Input((4,)), layers.BatchNormalization(), layers.Dense(units, activation=activation)]
    )
    model.compile("adam", loss, **options)
    return model


def endless(x: Any, y: Any) -> Any:
    while True:
        yield x, y


def assert_refused(model: Any, call: Any, message: str) -> None:
    """The call raises ValueError with this message, and weights and optimizer are bitwise as before."""
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        call()
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert int(model.optimizer.iterations.numpy()) == 0
    assert all(not np.any(v.numpy()) for v in model.optimizer.variables[2:])


CASES = {
    "lengths": (SPARSE, (X, Y[:-1]), {}, r"same number of samples\. Sizes: x: 12; y: 11"),
    "weights' length": (SPARSE, (X, Y), {"sample_weight": np.ones(3)}, r"Sizes: x: 12; y: 12; sample_weight: 3"),
    "labels out of range": (SPARSE, (X, Y + 5), {}, r"between 0 and 2; they go from 5 to 7"),
    "labels from one": (SPARSE, (X, Y + 1), {}, r"they go from 1 to 3\. Count classes from 0: use y - 1"),
    "negative labels": (SPARSE, (X, Y - 1), {}, r"go from -1 to 1\. .*ignore_class=-1"),
    "range of a late sample": (SPARSE, (X, np.append(Y[:-1], 9)), {"batch_size": 2}, r"they go from 0 to 9"),
    "one-hot for sparse": (SPARSE, (X, ONE_HOT), {}, r"Use 'categorical_crossentropy', or np\.argmax"),
    "sparse for one-hot": (CATEGORICAL, (X, Y), {}, r"Use 'sparse_categorical_crossentropy', or .*to_categorical"),
    "classes for mse": ("mse", (X, Y), {}, r"'sparse_categorical_crossentropy'"),
    "fractions as classes": (SPARSE, (X, Y + 0.5), {}, r"whole class numbers"),
    "NaN labels": (SPARSE, (X, np.where(Y == 1, np.nan, Y)), {}, r"labels contain NaN"),
    "rank of x": (SPARSE, (X[:, :, None], Y), {}, r"BatchNormalization\) does not fit: expected 2 axes.*\(2, 4, 1\)"),
    "width of x": (SPARSE, (X[:, :3], Y), {}, r"axis -1 to have length 4.*\(2, 3\)"),
    "single number": (SPARSE, (np.float32(3), Y), {}, r"x must hold one entry for each sample"),
    "strings": (SPARSE, (X.astype(str), Y), {}, r"Data must be numbers\. Received: an array of dtype <U"),
    "names as labels": (SPARSE, (X, np.array(list("abcabcabcabc"))), {}, r"class names to numbers"),
    "ragged rows": (SPARSE, ([[1.0, 2.0], [3.0]], [0, 1]), {}, r"rows of different lengths"),
    "empty": (SPARSE, (X[:0], Y[:0]), {}, r"No data: an empty array was given for x and y"),
    "empty list": (SPARSE, ([], []), {}, r"No data"),
    "nothing": (SPARSE, (None, None), {}, r"No data: x is empty or None"),
    "no labels": (SPARSE, (X,), {}, r"needs labels, but no y was given"),
    "two labels": (SPARSE, (X, [Y, Y]), {}, r"The model has one output\. Received: 2 arrays of labels"),
    "batch size 0": (SPARSE, (X, Y), {"batch_size": 0}, r"must be a positive integer\. Received: batch_size=0"),
    "batch size 2.5": (SPARSE, (X, Y), {"batch_size": 2.5}, r"Received: batch_size=2\.5"),
    "batch size True": (SPARSE, (X, Y), {"batch_size": True}, r"Received: batch_size=True"),
    "no steps": (SPARSE, (X, Y), {"steps_per_epoch": 0}, r"steps must be a positive integer"),
    "epochs": (SPARSE, (X, Y), {"epochs": 1.5}, r"epochs must be an integer\. Received: epochs=1\.5"),
    "split of 1": (SPARSE, (X, Y), {"validation_split": 1.0}, r"between 0 and 1"),
    "split of too few": (SPARSE, (X[:1], Y[:1]), {"validation_split": 0.1}, r"of 1 samples leaves nothing"),
    "split of batches": (SPARSE, ([(X, Y)],), {"validation_split": 0.5}, r"pass validation_data instead"),
    "y beside batches": (SPARSE, ([(X, Y)], Y), {}, r"With list as x, y comes in its batches"),
    "batch of four": (SPARSE, ([(X, Y, Y, Y)],), {}, r"A batch is x, \(x, y\) or .*a tuple of 4"),
    "used-up generator": (SPARSE, (iter(()),), {}, r"gave no batch"),
    "generator function": (SPARSE, (endless,), {}, r"x is a function.*endless\(\)"),
    "labels of a batch": (SPARSE, ([(X, Y + 3)],), {}, r"they go from 3 to 5"),
    "validation labels": (SPARSE, (X, Y), {"validation_data": (X, Y + 3)}, r"they go from 3 to 5"),
    "validation width": (SPARSE, (X, Y), {"validation_data": (X[:, 1:], Y)}, r"axis -1 to have length 4"),
    "validation batches": (SPARSE, (X, Y), {"validation_data": [(X, ONE_HOT)]}, r"Use 'categorical_crossentropy'"),
    "both weights": (SPARSE, (X, Y), {"class_weight": {0: 2}, "sample_weight": np.ones(12)}, r"cannot be used tog"),
    "class weights": (SPARSE, (X, Y), {"class_weight": [1, 2, 3]}, r"must be a dict from class numbers"),
    "callback class": (SPARSE, (X, Y), {"callbacks": [keras.callbacks.History]}, r"Did you mean `History\(\)`"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_fit_refuses_what_does_not_fit_and_changes_nothing(name: str) -> None:
    loss, arguments, options, message = CASES[name]
    model = make_model(loss, metrics=["accuracy"])
    assert_refused(model, lambda: model.fit(*arguments, **{"verbose": 0, **options}), message)
    good = {SPARSE: Y, CATEGORICAL: ONE_HOT, "mse": ONE_HOT}[loss]
    assert len(model.fit(X, good, verbose=0).history["loss"]) == 1


def test_binary_labels_of_one_unit_are_checked_too() -> None:
    model = make_model(BINARY, units=1)
    assert_refused(model, lambda: model.fit(X, Y, verbose=0), r"between 0 and 1.*go from 0 to 2.*'sparse_categorical")
    assert_refused(model, lambda: model.fit(X, ONE_HOT, verbose=0), r"one label between 0 and 1 for each output unit")
    wrong = make_model(SPARSE, units=1)
    assert_refused(wrong, lambda: wrong.fit(X, Y % 2, verbose=0), r"one unit for each class.*'binary_crossentropy'")


def test_evaluate_and_single_batches_refuse_the_same() -> None:
    model = make_model()
    for call in (model.evaluate, model.train_on_batch, model.test_on_batch):
        options = {"verbose": 0} if call == model.evaluate else {}
        assert_refused(model, lambda call=call, o=options: call(X, Y + 1, **o), r"they go from 1 to 3")
        assert_refused(model, lambda call=call, o=options: call(X, ONE_HOT, **o), r"Use 'categorical_crossentropy'")
        assert_refused(model, lambda call=call, o=options: call(X, Y[1:], **o), r"same number of samples")


def test_labels_that_go_wrong_later_are_refused_before_a_step_is_taken_on_them() -> None:
    good, bad = make_model(), make_model()
    bad.set_weights(good.get_weights())
    good.fit([(X, Y)], verbose=0)
    with pytest.raises(ValueError, match=r"they go from 1 to 3"):
        bad.fit([(X, Y), (X, Y + 1)], verbose=0)
    trained = [i for i, w in enumerate(good.weights) if not w.name.startswith("moving")]
    for i in trained:
        np.testing.assert_array_equal(bad.get_weights()[i], good.get_weights()[i])
    assert int(bad.optimizer.iterations.numpy()) == 1
    with pytest.raises(ValueError, match=r"they go from 1 to 3"):
        bad.train_on_batch(X, Y + 1)
    assert int(bad.optimizer.iterations.numpy()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("adm", "mse"), r"optimizer identifier: 'adm'\. Did you mean 'Adam'"),
        (("adam", "categorical_crosentropy"), r"loss identifier.*Did you mean 'categorical_crossentropy'"),
        (("adam", "mse", None, ["acuracy"]), r"metric identifier: 'acuracy'\. Did you mean 'accuracy'"),
        (("adam", "mse", ["accuracy"]), r"received 'accuracy' as loss_weights, its third argument.*metrics=\[\.\.\.\]"),
        (("adam", "mse", [keras.metrics.Mean()]), r"as loss_weights, its third argument"),
        (("adam", "mse", None, "accuracy"), r"metrics must be a list, such as metrics=\['accuracy'\]"),
        ((3, "mse"), r"3"),
    ],
)
def test_a_failed_compile_leaves_the_model_compiled_as_it_was(arguments: tuple[Any, ...], message: str) -> None:
    model = make_model(metrics=["accuracy"])
    optimizer = model.optimizer
    with pytest.raises(ValueError, match=message):
        model.compile(*arguments)
    assert model.optimizer is optimizer
    assert model.evaluate(X, Y, verbose=0)[0] > 0


def test_what_was_not_compiled_cannot_be_trained_but_can_predict() -> None:
    model = keras.Sequential([layers.Dense(2)])
    for call in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match=r"You must call `compile\(\)` before using the model\."):
            call(X, Y)
    assert model.predict(X, verbose=0).shape == (12, 2)
    with pytest.raises(ValueError, match=r"gave no batch"):
        model.predict(iter(()), verbose=0)


def test_a_model_without_loss_or_trainable_weights_says_so() -> None:
    model = make_model(loss=None)
    with pytest.raises(ValueError, match=r"nothing to minimise: compile\(loss=\.\.\.\) or add_loss\(\)"):
        model.fit(X, Y, verbose=0)
    frozen = make_model()
    frozen.trainable = False
    for call in (lambda: frozen.fit(X, Y, verbose=0), lambda: frozen.train_on_batch(X, Y)):
        assert_refused(frozen, call, r"nothing to train: no weight of model 'sequential.*layer\.trainable = True")
    assert frozen.evaluate(X, Y, verbose=0) > 0


class Two(keras.Model):
    """Two outputs, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = layers.Dense(1), layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return {"left": self.left(inputs), "right": self.right(inputs)}


@pytest.mark.parametrize(
    ("compiled", "message"),
    [
        ({"loss": {"left": "mse", "rihgt": "mse"}}, r"losses for an output 'rihgt'.*mean 'right'\?.*left, right"),
        ({"loss": ["mse"]}, r"losses for 1 outputs, but the model has 2"),
        ({"loss": "mse", "loss_weights": [1.0, 2.0, 3.0]}, r"loss_weights for 3 outputs"),
        ({"loss": "mse", "metrics": {"lft": ["mae"]}}, r"metrics for an output 'lft'.*Did you mean 'left'"),
        ({"loss": "mse", "metrics": [["mae"], [], []]}, r"metrics for 3 outputs"),
    ],
)
def test_losses_and_metrics_of_outputs_that_are_not_there_are_refused(compiled: Any, message: str) -> None:
    model, labels = Two(), {"left": X[:, :1], "right": X[:, :1]}
    model(X)
    model.compile("sgd", **compiled)
    assert_refused(model, lambda: model.fit(X, labels, verbose=0), message)
    model.compile("sgd", "mse")
    assert_refused(model, lambda: model.fit(X, {"left": X[:, :1]}, verbose=0), r"of output 'right' needs labels")


def test_missing_numbers_are_reported_by_name_where_fit_was_called_and_only_where_they_are() -> None:
    bad = X.copy()
    bad[3:5, 1] = np.nan
    with pytest.warns(UserWarning, match=r"^x holds 2 NaN and 0 infinite numbers of 48") as caught:
        make_model().fit(bad, Y, verbose=0)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match=r"^y\[1\] holds 0 NaN and 1 infinite"):
        warn_of_missing_numbers(x=X, y=[X, np.append(X, np.inf)])
    warn_of_missing_numbers(x=np.full(9, 1e38, np.float32), y=Y)  # a sum that overflows is no infinity among the data


def test_the_array_with_missing_numbers_is_named_also_in_a_dict() -> None:
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"^x\['image'\] holds \d+ NaN"):
        model.fit({"image": np.where(X > 1, np.nan, X)}, X[:, :1], verbose=0)
