"""Callbacks around a fake model: what stops, saves and changes when, and what is said (texts recorded from Keras)."""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradlite.keras.callbacks import (
    BackupAndRestore,
    Callback,
    CallbackList,
    CSVLogger,
    EarlyStopping,
    History,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    TerminateOnNaN,
)


class FakeModel:
    """As much of a model as callbacks see; its one weight is the number of the epoch that last ended."""

    def __init__(self, learning_rate: float = 0.01, metrics: list[Any] | None = None) -> None:
        self.optimizer = SimpleNamespace(learning_rate=learning_rate)
        self.metrics = metrics or []
        self.stop_training = False
        self.weights = [np.zeros(2)]
        self.saved: list[str] = []

    def get_weights(self) -> list[np.ndarray]:
        return [weight.copy() for weight in self.weights]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        self.weights = [weight.copy() for weight in weights]

    def save(self, filepath: str, overwrite: bool = True) -> None:
        Path(filepath).write_text("model")
        self.saved.append(filepath)

    def save_weights(self, filepath: str, overwrite: bool = True) -> None:
        Path(filepath).write_text("weights")
        self.saved.append(filepath)


def fit(model: FakeModel, callbacks: Any, epochs: list[dict[str, Any]]) -> CallbackList:
    """A training loop whose logs are given."""
    run = CallbackList(callbacks, model, {"epochs": len(epochs), "steps": 1, "verbose": 0})
    run.on_train_begin()
    for epoch, logs in enumerate(epochs):
        logs = dict(logs)
        run.on_epoch_begin(epoch)
        model.weights = [np.full(2, float(epoch))]
        run.on_epoch_end(epoch, logs)
        epochs[epoch] = logs
        if model.stop_training:
            break
    run.on_train_end(logs)
    return run


def losses(*values: float) -> list[dict[str, float]]:
    return [{"loss": value, "val_loss": value} for value in values]


class Recorder(Callback):
    def __init__(self, calls: list[str], name: str) -> None:
        super().__init__()
        self.calls = calls
        self.name = name

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.calls.append(f"{self.name} {sorted(logs)}")
        logs[self.name] = 1.0


class TestCallbackList:
    def test_callbacks_are_called_in_order_and_see_what_earlier_ones_added_to_the_logs(self) -> None:
        calls: list[str] = []
        fit(FakeModel(), [Recorder(calls, "a"), Recorder(calls, "b")], [{"loss": 1.0}])
        assert calls == ["a ['loss']", "b ['a', 'loss']"]

    def test_history_and_progress_bar_come_after_the_users_callbacks(self) -> None:
        user = Callback()
        run = CallbackList([user], add_history=True, add_progbar=True)
        assert [type(callback) for callback in run] == [Callback, History, ProgbarLogger]

    def test_a_history_that_the_user_passed_is_not_doubled(self) -> None:
        history = History()
        model = FakeModel()
        run = CallbackList([history], model, add_history=True)
        assert list(run) == [history]
        assert model.history is history  # type: ignore[attr-defined]

    def test_every_callback_gets_model_and_params(self) -> None:
        model, callback = FakeModel(), Callback()
        CallbackList(callback, model, {"epochs": 3})
        assert callback.model is model
        assert callback.params == {"epochs": 3}

    def test_a_subclass_that_forgets_super_init_still_works(self) -> None:
        class Forgetful(Callback):
            def __init__(self) -> None:
                pass

        callback = Forgetful()
        assert callback.model is None
        fit(FakeModel(), [callback], losses(1.0))
        assert callback.model is not None

    def test_a_class_instead_of_an_instance_is_an_error_that_says_so(self) -> None:
        with pytest.raises(ValueError, match=r"Did you mean `History\(\)`"):
            CallbackList([History])  # type: ignore[list-item]

    @pytest.mark.parametrize("mode", ["train", "test", "predict"])
    def test_callbacks_without_batch_hooks_need_no_batch_logs(self, mode: str) -> None:
        run = CallbackList([EarlyStopping(), ModelCheckpoint("m.keras"), CSVLogger("x.csv")], add_progbar=True)
        assert not run.has_batch_hooks(mode)
        assert not run.needs_batch_logs(mode)

    def test_each_way_of_having_a_batch_hook_is_noticed(self) -> None:
        class Batches(Callback):
            def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
                pass

        class OldName(Callback):
            def on_batch_end(self, batch: int, logs: Any = None) -> None:
                pass

        for callback in (
            Batches(),
            OldName(),
            LambdaCallback(on_train_batch_end=lambda batch, logs: None),
            ModelCheckpoint("m.keras", save_freq=3),
            TerminateOnNaN(),
        ):
            assert CallbackList([callback]).needs_batch_logs("train"), callback
            assert not CallbackList([callback]).has_batch_hooks("test"), callback

    def test_a_begin_hook_needs_to_be_called_but_needs_no_logs(self) -> None:
        run = CallbackList([LambdaCallback(on_train_batch_begin=lambda batch, logs: None)])
        assert run.has_batch_hooks("train")
        assert not run.needs_batch_logs("train")

    def test_lazy_logs_are_computed_once_and_only_for_those_who_read_them(self) -> None:
        reads, seen = [], []

        def logs() -> dict[str, float]:
            reads.append(1)
            return {"loss": 0.5}

        quiet = CallbackList([EarlyStopping()], add_progbar=True)
        quiet.set_params({"verbose": 0})
        quiet.on_train_batch_end(0, logs)
        assert reads == []
        hooks = [LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, dict(logs))))] * 2
        CallbackList(hooks).on_train_batch_end(3, logs)
        assert reads == [1]
        assert seen == [(3, {"loss": 0.5})] * 2

    def test_all_hooks_reach_the_callback(self) -> None:
        called = []

        class Everything(Callback):
            def __getattribute__(self, name: str) -> Any:
                if name.startswith("on_"):
                    return lambda *arguments: called.append((name, *arguments))
                return super().__getattribute__(name)

        run = CallbackList([Everything()])
        for mode in ("train", "test", "predict"):
            getattr(run, f"on_{mode}_begin")()
            getattr(run, f"on_{mode}_batch_begin")(1)
            getattr(run, f"on_{mode}_batch_end")(1, {"loss": 1.0})
            getattr(run, f"on_{mode}_end")({"a": 1})
        expected = []
        for mode in ("train", "test", "predict"):
            expected += [(f"on_{mode}_begin", {}), (f"on_{mode}_batch_begin", 1, {})]
            expected += [(f"on_{mode}_batch_end", 1, {"loss": 1.0}), (f"on_{mode}_end", {"a": 1})]
        assert called == expected


class TestHistory:
    def test_values_are_python_floats_by_epoch(self) -> None:
        run = fit(FakeModel(), [History()], [{"loss": np.float32(0.5)}, {"loss": np.array(0.25), "val_loss": 1.0}])
        assert run.history.history == {"loss": [0.5, 0.25], "val_loss": [1.0]}
        assert all(type(value) is float for value in run.history.history["loss"])
        assert run.history.epoch == [0, 1]

    def test_training_again_starts_anew(self) -> None:
        history = History()
        fit(FakeModel(), [history], losses(1.0, 2.0))
        fit(FakeModel(), [history], losses(3.0))
        assert history.history["loss"] == [3.0]


class TestEarlyStopping:
    def stopped_after(self, callback: EarlyStopping, values: tuple[float, ...]) -> int | None:
        """The 1-based epoch after which training stopped."""
        model, epochs = FakeModel(), losses(*values)
        run = CallbackList([callback], model)
        run.on_train_begin()
        for epoch, logs in enumerate(epochs):
            run.on_epoch_end(epoch, logs)
            if model.stop_training:
                return epoch + 1
        return None

    @pytest.mark.parametrize(
        ("arguments", "values", "expected"),
        [
            ({"patience": 1}, (1, 2, 3), 2),
            ({"patience": 0}, (1, 2, 3), 2),
            ({"patience": 2}, (1, 2, 0.5, 3, 3), 5),
            ({"patience": 9}, (1, 2, 3), None),
            ({"patience": 1, "baseline": 0.1}, (1, 0.5, 3, 4), 3),
            ({"patience": 1, "start_from_epoch": 2}, (1, 2, 3, 4), 4),
            ({"patience": 1, "min_delta": 0.5}, (1, 0.8, 0.7), 2),
            ({"patience": 1, "min_delta": -0.5}, (1, 0.8, 0.7), 2),
            ({"patience": 1, "mode": "max"}, (1, 2, 3, 2), 4),
            ({"patience": 2}, (math.nan, 1, 0.5, 3, 4), 5),
        ],
    )
    def test_training_stops_when_keras_would_stop_it(
        self, arguments: dict[str, Any], values: tuple[float, ...], expected: int | None
    ) -> None:
        assert self.stopped_after(EarlyStopping(**arguments), values) == expected

    def test_a_first_epoch_without_a_number_does_not_become_the_best(self) -> None:
        assert self.stopped_after(EarlyStopping(patience=2), (math.nan, 3, 2, 1)) is None

    def test_the_best_weights_come_back_after_a_stop_and_it_is_said(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = FakeModel()
        fit(model, [EarlyStopping(patience=1, verbose=1, restore_best_weights=True)], losses(1, 2, 3))
        assert model.weights[0].tolist() == [0.0, 0.0]
        assert capsys.readouterr().out == (
            "Epoch 2: early stopping\nRestoring model weights from the end of the best epoch: 1.\n"
        )

    def test_the_best_weights_come_back_without_a_stop_too(self, capsys: pytest.CaptureFixture[str]) -> None:
        model = FakeModel()
        fit(model, [EarlyStopping(patience=9, verbose=1, restore_best_weights=True)], losses(1, 0.5, 3))
        assert model.weights[0].tolist() == [1.0, 1.0]
        assert capsys.readouterr().out == "Restoring model weights from the end of the best epoch: 2.\n"

    def test_a_second_training_starts_counting_anew(self) -> None:
        callback = EarlyStopping(patience=2)
        assert self.stopped_after(callback, (1, 2, 3)) == 3
        assert self.stopped_after(callback, (9, 8, 7)) is None

    def test_a_log_that_is_not_there_warns_once_and_names_what_there_is(self) -> None:
        with pytest.warns(UserWarning, match=r"Early stopping conditioned on metric `val_lss`") as caught:
            fit(FakeModel(), [EarlyStopping(monitor="val_lss")], losses(1, 2, 3))
        assert len(caught) == 1
        assert str(caught[0].message).endswith("Did you mean 'val_loss'? Available metrics are: loss,val_loss")


class TestDirection:
    def improves(self, monitor: str, metrics: list[Any] | None = None) -> str:
        """ "up" if a higher value counts as better."""
        model = FakeModel(metrics=metrics)
        callback = EarlyStopping(monitor=monitor, patience=1)
        fit(model, [callback], [{monitor: 1.0}, {monitor: 2.0}])
        return "up" if callback.best == 2.0 else "down"

    @pytest.mark.parametrize("direction", ["up", "down"])
    def test_the_models_metric_is_asked(self, direction: str) -> None:
        metric = SimpleNamespace(name="zork", _direction=direction)
        assert self.improves("val_zork", [metric]) == direction
        assert self.improves("zork", [SimpleNamespace(name="compiled", metrics=[metric])]) == direction

    @pytest.mark.parametrize("name", ["accuracy", "val_acc", "auc", "val_auc_1", "precision", "recall", "out_acc"])
    def test_well_known_names_go_up(self, name: str) -> None:
        assert self.improves(name) == "up"

    @pytest.mark.parametrize("name", ["loss", "val_loss", "head_loss", "mse", "val_mean_absolute_error"])
    def test_losses_and_errors_go_down(self, name: str) -> None:
        assert self.improves(name) == "down"

    @pytest.mark.parametrize("kind", [EarlyStopping, ReduceLROnPlateau])
    def test_an_unknown_direction_is_an_error_that_asks_for_a_mode(self, kind: Any) -> None:
        with pytest.raises(ValueError, match=rf"{kind.__name__} callback received monitor=zork.*Pass `mode='max'`"):
            fit(FakeModel(), [kind(monitor="zork")], [{"zork": 1.0}])

    def test_an_unknown_mode_warns_and_means_auto(self) -> None:
        with pytest.warns(UserWarning, match=r"EarlyStopping mode 'zz' is unknown, fallback to auto mode"):
            assert EarlyStopping(mode="zz").mode == "auto"


class TestModelCheckpoint:
    def test_the_best_model_is_saved_and_it_is_said(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        path = str(tmp_path / "m.keras")
        model = FakeModel()
        fit(model, [ModelCheckpoint(path, save_best_only=True, verbose=1)], losses(1, 2, 0.5))
        assert model.saved == [path, path]
        assert capsys.readouterr().out == (
            f"\nEpoch 1: val_loss improved from None to 1.00000, saving model to {path}\n"
            f"\nEpoch 1: finished saving model to {path}\n"
            "\nEpoch 2: val_loss did not improve from 1.00000\n"
            f"\nEpoch 3: val_loss improved from 1.00000 to 0.50000, saving model to {path}\n"
            f"\nEpoch 3: finished saving model to {path}\n"
        )

    def test_names_hold_the_epoch_from_one_and_logs_and_make_their_directory(self, tmp_path: Path) -> None:
        model = FakeModel()
        pattern = tmp_path / "sub" / "m{epoch:02d}-{val_loss:.2f}.keras"
        fit(model, [ModelCheckpoint(pattern)], losses(1, 2))
        assert [os.path.basename(path) for path in model.saved] == ["m01-1.00.keras", "m02-2.00.keras"]

    def test_a_threshold_must_be_beaten_by_the_first_best_model(self, tmp_path: Path) -> None:
        model = FakeModel()
        path = tmp_path / "m.weights.h5"
        callback = ModelCheckpoint(path, save_best_only=True, save_weights_only=True, initial_value_threshold=0.7)
        fit(model, [callback], losses(1, 2, 0.5))
        assert path.read_text() == "weights"
        assert len(model.saved) == 1

    def test_saving_every_other_batch_counts_across_epochs(self, tmp_path: Path) -> None:
        model = FakeModel()
        run = CallbackList([ModelCheckpoint(tmp_path / "m{batch}-{epoch}.keras", save_freq=2)], model)
        for epoch in range(2):
            run.on_epoch_begin(epoch)
            for batch in range(3):
                run.on_train_batch_end(batch, {"loss": 1.0})
            run.on_epoch_end(epoch, {"loss": 1.0})
        # Recorded from Keras with three batches in an epoch.
        assert [os.path.basename(path) for path in model.saved] == ["m2-1.keras", "m1-2.keras", "m3-2.keras"]

    def test_without_the_log_nothing_is_saved_and_one_warning_says_why(self, tmp_path: Path) -> None:
        model = FakeModel()
        with pytest.warns(UserWarning, match=r"zork") as caught:
            fit(model, [ModelCheckpoint(tmp_path / "m.keras", monitor="zork", save_best_only=True)], losses(1, 2))
        assert model.saved == []
        assert len(caught) == 1

    def test_an_unknown_name_in_the_path_is_an_error_that_lists_the_known_ones(self, tmp_path: Path) -> None:
        with pytest.raises(KeyError, match=r"Failed to format this callback filepath.*zork.*epoch, loss, val_loss"):
            fit(FakeModel(), [ModelCheckpoint(tmp_path / "m{zork}.keras")], losses(1))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"filepath": "m.pt"}, r"must end in `\.keras`.*filepath=m\.pt"),
            ({"filepath": "m.h5", "save_weights_only": True}, r"must end in `\.weights\.h5` or `\.weights\.npz`"),
            ({"filepath": "m.keras", "save_weights_only": True}, r"must end in `\.weights\.h5`"),
            ({"filepath": "m.keras", "save_freq": "zz"}, "Unrecognized save_freq: zz"),
            ({"filepath": "m.keras", "save_freq": 2.0}, "Unrecognized save_freq: 2.0"),
            ({"filepath": "m.keras", "save_freq": 0}, "Unrecognized save_freq: 0"),
        ],
    )
    def test_wrong_arguments_are_refused_when_it_is_made(self, arguments: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            ModelCheckpoint(**arguments)


class TestLearningRates:
    def test_a_plateau_reduces_the_rate_as_keras_does(self, capsys: pytest.CaptureFixture[str]) -> None:
        model, epochs = FakeModel(), losses(*[1] * 8)
        fit(model, [ReduceLROnPlateau(patience=2, verbose=1, cooldown=1, factor=0.5, min_lr=0.003)], epochs)
        # Recorded from Keras: the rate that each epoch was trained with.
        assert [logs["learning_rate"] for logs in epochs] == [0.01, 0.01, 0.01, 0.005, 0.005, 0.003, 0.003, 0.003]
        assert capsys.readouterr().out == (
            "\nEpoch 3: ReduceLROnPlateau reducing learning rate to 0.005.\n"
            "\nEpoch 5: ReduceLROnPlateau reducing learning rate to 0.003.\n"
        )

    def test_a_rate_that_is_the_least_but_for_float32_rounding_is_not_reduced_again(self) -> None:
        model = FakeModel(float(np.float32(0.003)))
        fit(model, [ReduceLROnPlateau(patience=1, min_lr=0.003)], losses(1, 1, 1))
        assert model.optimizer.learning_rate == float(np.float32(0.003))

    def test_a_factor_of_one_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"factor >= 1.0"):
            ReduceLROnPlateau(factor=1.0)

    def test_without_the_log_the_rate_is_logged_and_stays(self) -> None:
        model, epochs = FakeModel(), losses(1, 1, 1)
        with pytest.warns(UserWarning, match=r"Learning rate reduction is conditioned on metric `zork`"):
            fit(model, [ReduceLROnPlateau(monitor="zork", patience=1)], epochs)
        assert [logs["learning_rate"] for logs in epochs] == [0.01] * 3

    def test_a_schedule_of_epoch_and_rate_sets_the_rate(self, capsys: pytest.CaptureFixture[str]) -> None:
        model, epochs = FakeModel(0.5), losses(1, 2)
        fit(model, [LearningRateScheduler(lambda epoch, rate: rate / 2, verbose=1)], epochs)
        assert [logs["learning_rate"] for logs in epochs] == [0.25, 0.125]
        assert capsys.readouterr().out.startswith("\nEpoch 1: LearningRateScheduler setting learning rate to 0.25.\n")

    def test_a_schedule_of_the_epoch_alone_works_too(self) -> None:
        model = FakeModel()
        fit(model, [LearningRateScheduler(lambda epoch: np.float32(0.5) * (epoch + 1))], losses(1, 2))
        assert model.optimizer.learning_rate == 1.0

    def test_a_type_error_inside_a_schedule_is_not_taken_for_a_missing_argument(self) -> None:
        def schedule(epoch: int, rate: float) -> float:
            raise TypeError("mine")

        with pytest.raises(TypeError, match=r"mine"):
            fit(FakeModel(), [LearningRateScheduler(schedule)], losses(1))

    def test_a_schedule_must_give_a_number(self) -> None:
        with pytest.raises(ValueError, match=r"should be a float. Got: a"):
            fit(FakeModel(), [LearningRateScheduler(lambda epoch: "a")], losses(1))  # type: ignore[arg-type, return-value]


class TestCSVLogger:
    def test_the_file_holds_a_row_per_epoch_with_sorted_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        fit(FakeModel(), [CSVLogger(path)], [{"val_loss": np.float32(0.5), "loss": 1.0, "accuracy": 1 / 3}] * 2)
        row = "0.3333333333333333,1.0,0.5\n"
        assert path.read_text() == "epoch,accuracy,loss,val_loss\n0," + row + "1," + row

    def test_each_row_is_in_the_file_as_soon_as_its_epoch_is_over(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        logger = CSVLogger(path)
        logger.on_train_begin()
        logger.on_epoch_end(0, {"loss": 1.0})
        assert path.read_text() == "epoch,loss\n0,1.0\n"

    def test_a_log_that_comes_later_gets_a_column_and_missing_ones_are_marked(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        fit(FakeModel(), [CSVLogger(path)], [{"loss": 1.0}, {"loss": 2.0, "acc": 3.0}, {"acc": [1, 2]}])
        assert path.read_text() == 'epoch,loss,acc\n0,1.0,NA\n1,2.0,3.0\n2,NA,"[1, 2]"\n'

    def test_appending_keeps_rows_and_columns(self, tmp_path: Path) -> None:
        path = tmp_path / "x.csv"
        fit(FakeModel(), [CSVLogger(path, separator=";")], [{"b": 1.0, "a": 2.0}])
        fit(FakeModel(), [CSVLogger(path, separator=";", append=True)], [{"a": 3.0, "b": 4.0}])
        assert path.read_text() == "epoch;a;b\n0;2.0;1.0\n0;3.0;4.0\n"
        fit(FakeModel(), [CSVLogger(path)], [{"c": 3.0}])
        assert path.read_text() == "epoch,c\n0,3.0\n"
        assert os.listdir(tmp_path) == ["x.csv"]


class TestBackupAndRestore:
    class Model(FakeModel):
        _initial_epoch: int | None = None

        def save_weights(self, filepath: str, overwrite: bool = True) -> None:
            np.savetxt(filepath, self.weights[0])

        def load_weights(self, filepath: str) -> None:
            self.weights = [np.loadtxt(filepath)]

    def train(self, model: Model, callback: BackupAndRestore, epochs: range, fail_at: int | None = None) -> None:
        """Train, with a power cut in the middle of epoch ``fail_at``."""
        run = CallbackList([callback], model)
        run.on_train_begin()
        for epoch in epochs[model._initial_epoch or 0 :]:
            run.on_epoch_begin(epoch)
            for batch in range(3):
                model.weights = [model.weights[0] + 1]
                if (epoch, batch) == (fail_at, 2):
                    return
                run.on_train_batch_end(batch)
            run.on_epoch_end(epoch)
        run.on_train_end()

    def test_training_goes_on_after_the_last_complete_epoch(self, tmp_path: Path) -> None:
        backup = tmp_path / "backup"
        self.train(self.Model(), BackupAndRestore(backup), range(4), fail_at=2)
        model = self.Model()
        self.train(model, BackupAndRestore(backup), range(4))
        assert model._initial_epoch == 2
        assert model.weights[0].tolist() == [12.0, 12.0]
        assert not backup.exists()

    def test_with_a_number_of_batches_the_interrupted_epoch_begins_again(self, tmp_path: Path) -> None:
        self.train(self.Model(), BackupAndRestore(tmp_path, save_freq=2), range(4), fail_at=2)
        model = self.Model()
        CallbackList([BackupAndRestore(tmp_path)], model).on_train_begin()
        assert model._initial_epoch == 2
        assert model.weights[0].tolist() == [8.0, 8.0]
        assert len(os.listdir(tmp_path)) == 2

    def test_a_finished_backup_may_be_kept(self, tmp_path: Path) -> None:
        self.train(self.Model(), BackupAndRestore(tmp_path, delete_checkpoint=False), range(2))
        model = self.Model()
        self.train(model, BackupAndRestore(tmp_path), range(2))
        assert model.weights[0].tolist() == [6.0, 6.0]

    def test_without_a_backup_training_begins_at_the_beginning(self, tmp_path: Path) -> None:
        model = self.Model()
        self.train(model, BackupAndRestore(tmp_path / "none"), range(1))
        assert model._initial_epoch is None

    def test_a_damaged_backup_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "training_state.json").write_text("{}")
        with pytest.raises(ValueError, match=r"training_state\.json is damaged.*Remove it"):
            self.train(self.Model(), BackupAndRestore(tmp_path), range(1))


class TestTerminateOnNaN:
    @pytest.mark.parametrize("loss", [math.nan, math.inf])
    def test_a_loss_that_is_no_number_stops_training(self, loss: float, capsys: pytest.CaptureFixture[str]) -> None:
        model = FakeModel()
        run = CallbackList([TerminateOnNaN()], model)
        run.on_train_batch_end(0, {"loss": 1.0})
        assert not model.stop_training
        run.on_train_batch_end(1, {"loss": loss})
        assert model.stop_training
        assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"


class TestLambdaCallback:
    def test_any_hook_can_be_a_function(self) -> None:
        calls: list[Any] = []
        callback = LambdaCallback(
            on_epoch_begin=lambda epoch, logs: calls.append(epoch), on_test_end=lambda logs: calls.append("test")
        )
        run = fit(FakeModel(), [callback], losses(1, 2))
        run.on_test_end()
        assert calls == [0, 1, "test"]

    def test_an_unknown_hook_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"no hook 'on_lunch'"):
            LambdaCallback(on_lunch=print)


class TestProgbarLogger:
    def run(self, verbose: int, epochs: int, steps: int | None) -> None:
        run = CallbackList([], FakeModel(), {"verbose": verbose, "epochs": epochs, "steps": steps}, add_progbar=True)
        run.on_train_begin()
        for epoch in range(epochs):
            run.on_epoch_begin(epoch)
            for batch in range(3):
                run.on_train_batch_end(batch, {"loss": 1.0})
            run.on_test_begin()
            run.on_test_batch_end(0, {"loss": 7.0})
            run.on_test_end({"loss": 7.0})
            run.on_epoch_end(epoch, {"loss": 0.5, "val_loss": 0.25})
        run.on_train_end()

    @pytest.mark.parametrize("steps", [3, None])
    def test_each_epoch_has_a_heading_and_one_line_even_if_its_length_was_unknown(
        self, steps: int | None, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.run(1, 2, steps)
        lines = capsys.readouterr().out.splitlines()
        assert lines[::2] == ["Epoch 1/2", "Epoch 2/2"]
        for line in lines[1::2]:
            assert line.startswith(f"3/3 {'━' * 20} 0s ")
            assert line.endswith("/step - loss: 0.5000 - val_loss: 0.2500")

    def test_verbose_two_is_brief_and_verbose_zero_silent(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.run(2, 1, 3)
        out = capsys.readouterr().out
        assert out.startswith("3/3 - 0s - ")
        assert out.endswith("/step - loss: 0.5000 - val_loss: 0.2500\n")
        self.run(0, 2, 3)
        assert capsys.readouterr().out == ""

    def test_evaluation_and_prediction_outside_of_fit_have_a_line_each(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = CallbackList([], FakeModel(), {"verbose": "auto", "steps": 2}, add_progbar=True)
        run.on_test_begin()
        for batch in range(2):
            run.on_test_batch_end(batch, lambda: {"loss": 2.0})
        run.on_test_end({"loss": 2.5})
        run.on_predict_begin()
        for batch in range(2):
            run.on_predict_batch_end(batch, {"outputs": np.zeros((4, 3))})
        run.on_predict_end()
        evaluated, predicted = capsys.readouterr().out.splitlines()
        assert evaluated.endswith("/step - loss: 2.5000")
        assert predicted.startswith("2/2 ")
        assert predicted.endswith("/step")

    def test_an_epoch_that_was_cut_short_says_how_far_it_came(self, capsys: pytest.CaptureFixture[str]) -> None:
        run = CallbackList([], FakeModel(), {"verbose": 2, "steps": 10}, add_progbar=True)
        run.on_train_begin()
        run.on_epoch_begin(0)
        run.on_train_batch_end(3, {"loss": 1.0})
        run.on_epoch_end(0, {"loss": 1.0})
        assert capsys.readouterr().out.startswith("4/10 - ")


def test_callbacks_give_no_warning_when_all_is_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        everything = [
            EarlyStopping(patience=5),
            ModelCheckpoint(tmp_path / "m.keras", save_best_only=True),
            ReduceLROnPlateau(),
            CSVLogger(tmp_path / "x.csv"),
            History(),
        ]
        fit(FakeModel(), everything, losses(3, 2, 1))
