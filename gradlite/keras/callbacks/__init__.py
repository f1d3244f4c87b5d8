"""keras.callbacks: what happens around training besides training."""

from __future__ import annotations

from gradlite.keras.callbacks.backup import BackupAndRestore
from gradlite.keras.callbacks.base import Callback
from gradlite.keras.callbacks.callback_list import CallbackList
from gradlite.keras.callbacks.csv_logger import CSVLogger
from gradlite.keras.callbacks.early_stopping import EarlyStopping
from gradlite.keras.callbacks.history import History
from gradlite.keras.callbacks.lambda_callback import LambdaCallback
from gradlite.keras.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
from gradlite.keras.callbacks.model_checkpoint import ModelCheckpoint
from gradlite.keras.callbacks.progress import ProgbarLogger
from gradlite.keras.callbacks.terminate_on_nan import TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "TerminateOnNaN",
]
