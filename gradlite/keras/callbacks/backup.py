"""BackupAndRestore: take up an interrupted training where it was."""

from __future__ import annotations

import json
import os
from contextlib import suppress

from gradlite.keras.callbacks.base import Callback, Logs

_STATE = "training_state.json"


class BackupAndRestore(Callback):
    """Back up weights and optimizer as training goes; the same script, started again, goes on from there.

    Args:
        backup_dir: a directory for this training alone.
        save_freq: "epoch", or a number of batches; an epoch that was interrupted is trained again from its start,
            with the weights that were last backed up.
        double_checkpoint: with a numeric save_freq, back up at the end of epochs too.
        delete_checkpoint: remove the backup once training has ended well.

    The epoch to go on with is left in ``model._initial_epoch``.

    >>> from gradlite.keras.callbacks import BackupAndRestore
    >>> BackupAndRestore("backup").save_freq
    'epoch'
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        super().__init__()
        self.backup_dir = os.fspath(backup_dir)
        if not self.backup_dir:
            raise ValueError("BackupAndRestore needs the name of a directory. Received an empty one.")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or isinstance(save_freq, bool) or save_freq < 1):
            raise ValueError(f"save_freq must be 'epoch' or a number of batches above 0. Received: {save_freq!r}")
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self._epoch = 0
        self._batches = 0
        if isinstance(save_freq, int):
            # Only now: a batch hook on the class would be called, and cost its logs, at every batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = 0
        state = self._state()
        if state is not None:
            self.model.load_weights(os.path.join(self.backup_dir, state[1]))
            self.model._initial_epoch = state[0]

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches % int(self.save_freq) == 0:
            self._save(self._epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.save_freq == "epoch" or self.double_checkpoint:
            self._save(epoch + 1)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if not self.delete_checkpoint:
            return
        state = self._state()
        if state is not None:
            # The state first: a backup that it names must be there.
            os.remove(os.path.join(self.backup_dir, _STATE))
            os.remove(os.path.join(self.backup_dir, state[1]))
        with suppress(OSError):  # somebody else's files in it
            os.rmdir(self.backup_dir)

    def _state(self) -> tuple[int, str] | None:
        """(epoch to go on with, file of weights), or None where there is no backup."""
        path = os.path.join(self.backup_dir, _STATE)
        if not os.path.exists(path):
            return None
        try:
            with open(path) as file:
                content = json.load(file)
            return int(content["epoch"]), os.path.basename(content["weights"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}). Remove it to start training afresh.") from None

    def _save(self, epoch: int) -> None:
        """Write the weights under a new name, then point to them: an interruption leaves one of the two backups."""
        os.makedirs(self.backup_dir, exist_ok=True)
        before = self._state()
        current = "a.weights.npz" if before is None or before[1] != "a.weights.npz" else "b.weights.npz"
        self.model.save_weights(os.path.join(self.backup_dir, current), overwrite=True)
        temporary = os.path.join(self.backup_dir, f"{_STATE}.part")
        with open(temporary, "w") as file:
            json.dump({"epoch": epoch, "weights": current}, file)
        os.replace(temporary, os.path.join(self.backup_dir, _STATE))
        if before is not None:
            with suppress(FileNotFoundError):
                os.remove(os.path.join(self.backup_dir, before[1]))
