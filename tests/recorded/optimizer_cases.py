"""The optimizers, schedules and initializers recorded from Keras, with the gradients the optimizers are given.

Imported by the recorder and by gradlite's tests; see `layer_cases`. No framework is imported here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from fixed_arrays import uniform

STEPS = 12
VARIABLE_SHAPES: dict[str, tuple[int, ...]] = {"kernel": (3, 4), "bias": (4,)}


@dataclass(frozen=True)
class OptimizerCase:
    """An optimizer stepped `STEPS` times over two variables.

    `schedule`: (class, kwargs) of the schedule passed as learning_rate. `exclude`: var_names that are not decayed.
    `finalize`: call `finalize_variable_values` after the last step. `infinite_steps`: steps whose kernel gradient holds
    an infinity. `inner`: for LossScaleOptimizer, (class, kwargs) of the optimizer it wraps.
    """

    name: str
    optimizer: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    schedule: tuple[str, dict[str, Any]] | None = None
    exclude: tuple[str, ...] = ()
    finalize: bool = False
    infinite_steps: tuple[int, ...] = ()
    inner: tuple[str, dict[str, Any]] | None = None

    def gradients(self, step: int) -> list[np.ndarray]:
        """Gradients of one step: of very different sizes, and all zero for the bias at step 5."""
        scale = (1.0, 0.01, 30.0, 1e-4)[step % 4]
        arrays = [
            uniform(f"optimizer/gradient/{name}/{step}", shape, -scale, scale)
            for name, shape in VARIABLE_SHAPES.items()
        ]
        if step == 5:
            arrays[1] = np.zeros_like(arrays[1])
        if step in self.infinite_steps:
            arrays[0][1, 2] = np.inf
        return arrays


def initial_values() -> list[np.ndarray]:
    """The variables before the first step."""
    return [uniform(f"optimizer/variable/{name}", shape) for name, shape in VARIABLE_SHAPES.items()]


def build(keras: Any, case: OptimizerCase) -> Any:
    """The optimizer of a case; `keras` is the keras package or gradlite's."""
    kwargs = dict(case.kwargs)
    if case.schedule is not None:
        name, options = case.schedule
        kwargs["learning_rate"] = getattr(keras.optimizers.schedules, name)(**options)
    if case.inner is not None:
        name, options = case.inner
        return getattr(keras.optimizers, case.optimizer)(getattr(keras.optimizers, name)(**options), **kwargs)
    optimizer = getattr(keras.optimizers, case.optimizer)(**kwargs)
    if case.exclude:
        optimizer.exclude_from_weight_decay(var_names=list(case.exclude))
    return optimizer


def _case(name: str, optimizer: str, **options: Any) -> OptimizerCase:
    own = {key: options.pop(key) for key in list(options) if key in OptimizerCase.__dataclass_fields__}
    return OptimizerCase(name, optimizer, options, **own)


RULES = [
    _case("sgd_default", "SGD"),
    _case("sgd_momentum", "SGD", learning_rate=0.05, momentum=0.9),
    _case("sgd_nesterov", "SGD", learning_rate=0.05, momentum=0.9, nesterov=True),
    _case("rmsprop_default", "RMSprop"),
    _case("rmsprop_centered", "RMSprop", learning_rate=0.02, centered=True),
    _case("rmsprop_momentum", "RMSprop", learning_rate=0.02, momentum=0.8),
    _case("rmsprop_all", "RMSprop", learning_rate=0.02, rho=0.7, momentum=0.8, centered=True, epsilon=1e-3),
    _case("adam_default", "Adam"),
    _case("adam", "Adam", learning_rate=0.1, beta_1=0.8, beta_2=0.95, epsilon=1e-3),
    _case("adam_amsgrad", "Adam", learning_rate=0.1, beta_2=0.8, amsgrad=True),
    _case("adamw_default", "AdamW"),
    _case("adamw", "AdamW", learning_rate=0.1, weight_decay=0.2),
    _case("adamw_exclude_bias", "AdamW", learning_rate=0.1, weight_decay=0.2, exclude=("bias",)),
    _case("nadam_default", "Nadam"),
    _case("nadam", "Nadam", learning_rate=0.1, beta_1=0.8, beta_2=0.9),
    _case("adamax_default", "Adamax"),
    _case("adamax", "Adamax", learning_rate=0.1, beta_1=0.8, beta_2=0.9),
    _case("adagrad_default", "Adagrad"),
    _case("adagrad", "Adagrad", learning_rate=0.1, initial_accumulator_value=0.5, epsilon=1e-2),
    _case("adadelta_default", "Adadelta"),
    _case("adadelta", "Adadelta", learning_rate=1.0, rho=0.8, epsilon=1e-4),
    _case("lion_default", "Lion"),
    _case("lion", "Lion", learning_rate=0.05, beta_1=0.7, beta_2=0.8),
]

OPTIONS = [
    _case("sgd_weight_decay", "SGD", learning_rate=0.1, momentum=0.5, weight_decay=0.05),
    _case("adam_weight_decay", "Adam", learning_rate=0.1, weight_decay=0.05),
    _case("lion_weight_decay", "Lion", learning_rate=0.05, weight_decay=0.1),
    _case("rmsprop_weight_decay", "RMSprop", learning_rate=0.05, weight_decay=0.1),
    _case("sgd_clipnorm", "SGD", learning_rate=0.1, clipnorm=0.5),
    _case("sgd_clipvalue", "SGD", learning_rate=0.1, clipvalue=0.3),
    _case("sgd_global_clipnorm", "SGD", learning_rate=0.1, global_clipnorm=0.7),
    _case("adam_clipnorm", "Adam", learning_rate=0.1, clipnorm=0.5),
    _case("adam_global_clipnorm", "Adam", learning_rate=0.1, global_clipnorm=0.5),
    _case("sgd_loss_scale_factor", "SGD", learning_rate=0.1, loss_scale_factor=8.0),
    _case("adam_ema", "Adam", learning_rate=0.1, use_ema=True, ema_momentum=0.9),
    _case("adam_ema_finalized", "Adam", learning_rate=0.1, use_ema=True, ema_momentum=0.9, finalize=True),
    _case("sgd_ema_overwrite", "SGD", learning_rate=0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=5),
    _case("sgd_accumulation", "SGD", learning_rate=0.1, gradient_accumulation_steps=3),
    _case("adam_accumulation", "Adam", learning_rate=0.1, gradient_accumulation_steps=4),
    _case("adamw_accumulation_clipnorm", "AdamW", learning_rate=0.1, gradient_accumulation_steps=5, clipnorm=1.0),
    _case("sgd_momentum_accumulation_2", "SGD", learning_rate=0.1, momentum=0.9, gradient_accumulation_steps=2),
    _case(
        "sgd_exponential_decay",
        "SGD",
        schedule=("ExponentialDecay", {"initial_learning_rate": 0.2, "decay_steps": 3, "decay_rate": 0.5}),
    ),
    _case(
        "adam_cosine_decay",
        "Adam",
        schedule=(
            "CosineDecay",
            {"initial_learning_rate": 0.0, "decay_steps": 8, "warmup_target": 0.1, "warmup_steps": 3},
        ),
    ),
    _case(
        "loss_scale_sgd",
        "LossScaleOptimizer",
        initial_scale=64.0,
        dynamic_growth_steps=3,
        infinite_steps=(4, 9),
        inner=("SGD", {"learning_rate": 0.1, "momentum": 0.5}),
    ),
]
CASES = RULES + OPTIONS

SCHEDULE_STEPS = [0, 1, 2, 3, 4, 5, 7, 9, 10, 11, 15, 19, 20, 21, 29, 30, 31, 45, 60, 99, 100, 101, 250, 1000]
SCHEDULES: list[tuple[str, str, dict[str, Any]]] = [
    ("exponential", "ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.9}),
    (
        "exponential_staircase",
        "ExponentialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
    ("piecewise", "PiecewiseConstantDecay", {"boundaries": [4, 20, 100], "values": [1.0, 0.5, 0.1, 0.01]}),
    ("polynomial", "PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 30}),
    (
        "polynomial_power",
        "PolynomialDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 30, "end_learning_rate": 0.01, "power": 2.0},
    ),
    ("polynomial_cycle", "PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 20, "cycle": True}),
    ("inverse_time", "InverseTimeDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5}),
    (
        "inverse_time_staircase",
        "InverseTimeDecay",
        {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": True},
    ),
    ("cosine", "CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 30}),
    ("cosine_alpha", "CosineDecay", {"initial_learning_rate": 0.1, "decay_steps": 30, "alpha": 0.2}),
    (
        "cosine_warmup",
        "CosineDecay",
        {"initial_learning_rate": 0.01, "decay_steps": 30, "alpha": 0.1, "warmup_target": 0.2, "warmup_steps": 10},
    ),
    ("cosine_restarts", "CosineDecayRestarts", {"initial_learning_rate": 0.1, "first_decay_steps": 10}),
    (
        "cosine_restarts_shrinking",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.5, "m_mul": 0.8, "alpha": 0.1},
    ),
    (
        "cosine_restarts_equal",
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.1, "first_decay_steps": 10, "t_mul": 1.0, "m_mul": 0.5},
    ),
]

FAN_SHAPES: list[tuple[int, ...]] = [(7,), (784, 512), (3, 16, 32), (3, 3, 16, 32), (5, 1, 8, 4)]
INITIALIZERS: list[tuple[str, dict[str, Any]]] = [
    ("GlorotUniform", {}), ("GlorotNormal", {}), ("HeUniform", {}), ("HeNormal", {}), ("LecunUniform", {}),
    ("LecunNormal", {}), ("VarianceScaling", {}), ("RandomNormal", {}), ("RandomUniform", {}), ("TruncatedNormal", {}),
    ("Zeros", {}), ("Ones", {}),
    ("VarianceScaling", {"scale": 3.0, "mode": "fan_out", "distribution": "untruncated_normal"}),
    ("VarianceScaling", {"scale": 0.5, "mode": "fan_avg", "distribution": "uniform"}),
]  # fmt: skip
SAMPLE_SHAPE = (3, 3, 64, 128)
