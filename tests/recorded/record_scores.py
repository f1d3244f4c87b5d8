"""Recorder of activations, losses, metrics, regularizers and constraints; run by `record_keras`."""

from __future__ import annotations

from typing import Any

import function_cases as cases
import jax
import jax.numpy as jnp
import keras
import numpy as np


def record_functions() -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays by name, and facts for values.json."""
    arrays: dict[str, Any] = {}
    record_activations(arrays)
    for case in cases.LOSSES:
        record_loss(case, arrays)
    kernel = jnp.asarray(cases.regularized_kernel())
    for name, class_name, kwargs in cases.REGULARIZERS:
        regularizer = getattr(keras.regularizers, class_name)(**kwargs)
        arrays[f"regularizer/{name}/value"] = regularizer(kernel)
        arrays[f"regularizer/{name}/gradient"] = jax.grad(lambda k, r=regularizer: jnp.sum(r(k)))(kernel)
    for name, class_name, kwargs in cases.CONSTRAINTS:
        arrays[f"constraint/{name}"] = getattr(keras.constraints, class_name)(**kwargs)(kernel)
    return arrays, {"metrics": {case.name: record_metric(case) for case in cases.METRICS}}


def record_activations(arrays: dict[str, Any]) -> None:
    """Values and derivatives of every activation string."""
    grid = jnp.asarray(cases.activation_grid())
    for name in cases.ELEMENTWISE_ACTIVATIONS:
        function = keras.activations.get(name)
        arrays[f"activation/{name}/value"] = function(grid)
        arrays[f"activation/{name}/derivative"] = jax.vmap(jax.grad(lambda x, f=function: f(x[None])[0]))(grid)
    rows = jnp.asarray(cases.activation_rows())
    for name in cases.ROW_ACTIVATIONS:
        function = keras.activations.get(name)
        value = function(rows)
        weights = cases.activation_cotangent()[:, : value.shape[1]]
        arrays[f"activation/{name}/value"] = value
        arrays[f"activation/{name}/derivative"] = jax.grad(lambda x, f=function, w=weights: jnp.sum(f(x) * w))(rows)


def record_loss(case: cases.ScoreCase, arrays: dict[str, Any]) -> None:
    """The loss under every reduction, with and without sample weights, and the gradient under the default one."""
    y_true, y_pred, weights = cases.loss_data(case)
    for suffix, sample_weight in (("", None), ("_weighted", weights)):
        for reduction in cases.REDUCTIONS:
            loss = getattr(keras.losses, case.score)(reduction=reduction, **case.kwargs)
            arrays[f"loss/{case.name}/{reduction}{suffix}"] = loss(y_true, y_pred, sample_weight=sample_weight)
        loss = getattr(keras.losses, case.score)(**case.kwargs)

        def value(prediction: Any, loss: Any = loss, sample_weight: Any = sample_weight) -> Any:
            return loss(y_true, prediction, sample_weight=sample_weight)

        arrays[f"loss/{case.name}/gradient{suffix}"] = jax.grad(value)(jnp.asarray(y_pred))


def record_metric(case: cases.ScoreCase) -> dict[str, Any]:
    """Results after each of the batches, unweighted, weighted, and after a reset."""
    keras.utils.clear_session(free_memory=False)
    metric = getattr(keras.metrics, case.score)(**case.kwargs)
    facts: dict[str, Any] = {"auto_name": metric.name}
    for key, weighted in (("results", False), ("weighted_results", True)):
        metric.reset_state()
        facts[key] = []
        for batch in range(cases.BATCHES):
            cases.update_metric(metric, case, batch, weighted)
            facts[key].append(np.asarray(metric.result()).astype(np.float64).tolist())
    metric.reset_state()
    facts["reset_result"] = np.asarray(metric.result()).astype(np.float64).tolist()
    return facts
