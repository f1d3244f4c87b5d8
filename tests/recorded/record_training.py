"""Recorder of optimizers, schedules, initializers, training runs and printed texts; run by `record_keras`."""

from __future__ import annotations

from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optimizer_cases
import text_cases
import trajectory_cases


def record_optimizers() -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables after every step and the optimizer's variables after the last; schedules and initializers."""
    arrays: dict[str, Any] = {}
    optimizers = {case.name: record_optimizer(case, arrays) for case in optimizer_cases.CASES}
    schedules = {}
    for name, class_name, kwargs in optimizer_cases.SCHEDULES:
        schedule = getattr(keras.optimizers.schedules, class_name)(**kwargs)
        schedules[name] = [float(schedule(step)) for step in optimizer_cases.SCHEDULE_STEPS]
    return arrays, {"optimizers": optimizers, "schedules": schedules, "initializers": record_initializers()}


def record_optimizer(case: optimizer_cases.OptimizerCase, arrays: dict[str, Any]) -> dict[str, Any]:
    keras.utils.clear_session(free_memory=False)
    optimizer = optimizer_cases.build(keras, case)
    variables = [
        keras.Variable(value, name=name)
        for name, value in zip(optimizer_cases.VARIABLE_SHAPES, optimizer_cases.initial_values())
    ]
    optimizer.build(variables)
    history: list[list[np.ndarray]] = [[] for _ in variables]
    for step in range(optimizer_cases.STEPS):
        apply(optimizer, [jnp.asarray(g) for g in case.gradients(step)], variables)
        for values, variable in zip(history, variables):
            values.append(np.asarray(variable.value))
    if case.finalize:
        optimizer.finalize_variable_values(variables)
    for name, values, variable in zip(optimizer_cases.VARIABLE_SHAPES, history, variables):
        arrays[f"{case.name}/{name}"] = np.stack(values)
        arrays[f"{case.name}/{name}_final"] = np.asarray(variable.value)
    for i, variable in enumerate(optimizer.variables):
        arrays[f"{case.name}/state{i}"] = np.asarray(variable.value)
    return {
        "auto_name": optimizer.name,
        "state_names": [variable.name for variable in optimizer.variables],
        "iterations": int(np.asarray(optimizer.iterations)),
    }


def apply(optimizer: Any, gradients: list[Any], variables: list[Any]) -> None:
    """One step through `stateless_apply`: under JAX a LossScaleOptimizer works no other way."""
    before = [variable.value for variable in variables], [variable.value for variable in optimizer.variables]
    after = optimizer.stateless_apply(before[1], gradients, before[0])
    for group, values in zip((variables, optimizer.variables), after):
        for variable, value in zip(group, values):
            variable.assign(value)


def record_initializers() -> dict[str, Any]:
    """Fans of some shapes, and the spread of a large sample."""
    from keras.src.initializers.random_initializers import compute_fans

    samples = []
    for class_name, kwargs in optimizer_cases.INITIALIZERS:
        initializer = getattr(keras.initializers, class_name)(**kwargs)
        values = np.asarray(initializer(optimizer_cases.SAMPLE_SHAPE)).astype(np.float64)
        samples.append({"std": float(values.std()), "mean": float(values.mean()), "max": float(np.abs(values).max())})
    fans = [list(compute_fans(shape)) for shape in optimizer_cases.FAN_SHAPES]
    return {"fans": fans, "samples": samples}


def record_training(chosen: str = "", kept: dict[str, Any] | None = None) -> dict[str, Any]:
    """Losses of training runs, `fit` results, and texts; runs not chosen are taken from `kept` if they are there."""
    kept = kept or {}
    trajectories = {
        case.name: kept[case.name] if chosen not in case.name and case.name in kept else record_trajectory(case)
        for case in trajectory_cases.CASES
    }
    return {
        "trajectories": trajectories,
        "fits": {case.name: record_fit(case) for case in trajectory_cases.FITS},
        "texts": text_cases.all_texts(keras),
    }


def record_trajectory(case: trajectory_cases.TrajectoryCase) -> dict[str, Any]:
    """The losses, and the largest relative difference that small changes of the initial weights make."""
    losses = train(case)
    rounding = {"float32": 1.2e-7, "float64": 2.2e-16}[case.dtype]
    sensitivity = {
        "one_rounding": [difference(train(case, rounding, seed), losses) for seed in range(2)],
        "eight_roundings": [difference(train(case, 8 * rounding, seed=2), losses)],
    }
    print(f"{case.name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, sensitivity {sensitivity}", flush=True)
    return {"losses": losses.tolist(), "sensitivity": sensitivity, "why": case.why}


def difference(moved: np.ndarray, losses: np.ndarray) -> float:
    return float(f"{np.max(np.abs(moved - losses) / losses):.2g}")


def train(case: trajectory_cases.TrajectoryCase, size: float = 0.0, seed: int = 0) -> np.ndarray:
    """The losses of a case whose initial weights are moved by up to `size` of themselves."""
    keras.utils.clear_session()
    generator = np.random.default_rng(seed)

    def move(weight: np.ndarray) -> np.ndarray:
        return (weight * (1 + size * generator.uniform(-1, 1, weight.shape))).astype(case.dtype)

    if case.dtype == "float32":
        return trajectory_cases.losses(keras, case, move if size else None)
    # Two habits of Keras stand in the way of float64. BatchNormalization takes the common type of float64 and float32
    # to be float32. On JAX the loss clips probabilities at epsilon; on TensorFlow, as in gradlite, it uses the logits.
    narrow, epsilon = keras.src.backend.result_type, keras.backend.epsilon()

    def wide(*dtypes: Any) -> str:
        return "float64" if "float64" in [str(getattr(d, "dtype", d)) for d in dtypes] else narrow(*dtypes)

    keras.backend.set_epsilon(1e-30)
    try:
        with jax.enable_x64(True), mock.patch.object(keras.src.backend, "result_type", new=wide):
            return trajectory_cases.losses(keras, case, move if size else None)
    finally:
        keras.backend.set_epsilon(epsilon)


def record_fit(case: trajectory_cases.FitCase) -> dict[str, Any]:
    keras.utils.clear_session()
    return trajectory_cases.run_fit(keras, case)
