"""Records from Keras 3 the values that gradlite's tests compare with.

Run with Keras and JAX installed: `python tests/recorded/record_keras.py [--out DIRECTORY]`. It writes layers.npz,
functions.npz, optimizers.npz and values.json in about half an hour, nearly all of it for the training runs and their
sensitivity. The tests need only these files.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import keras
import layer_cases
import numpy as np
import record_scores
import record_training

jax.config.update("jax_default_matmul_precision", "highest")

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE, help="where the files go (default: beside this script)")
    parser.add_argument(
        "--runs", default="", help="record only training runs whose name holds this, and keep the others of values.json"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    layer_arrays, layer_facts = record_layers()
    function_arrays, function_facts = record_scores.record_functions()
    optimizer_arrays, optimizer_facts = record_training.record_optimizers()
    target = arguments.out / "values.json"
    kept = json.loads(target.read_text(encoding="utf-8"))["trajectories"] if arguments.runs and target.exists() else {}
    values = {
        "versions": {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__},
        "layers": layer_facts,
        **function_facts,
        **optimizer_facts,
        **record_training.record_training(arguments.runs, kept),
    }
    for name, arrays in (("layers", layer_arrays), ("functions", function_arrays), ("optimizers", optimizer_arrays)):
        np.savez_compressed(arguments.out / f"{name}.npz", **{key: np.asarray(a) for key, a in arrays.items()})
    text = json.dumps(values, indent=1, ensure_ascii=False)
    target.write_text(compact_number_lists(text) + "\n", encoding="utf-8")
    print(f"recorded {len(layer_facts)} layers with Keras {keras.__version__} into {arguments.out}")


def compact_number_lists(text: str) -> str:
    """`json.dumps(indent=1)` with lists of numbers on one line each."""
    return re.sub(r"\[\s+(-?[\d.][^\[\]{}\"]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)


def record_layers() -> tuple[dict[str, Any], dict[str, Any]]:
    """Outputs, gradients and states of every layer case."""
    arrays: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for case in layer_cases.CASES:
        keras.utils.clear_session(free_memory=False)
        facts[case.name] = record_layer(case, arrays)
    return arrays, facts


def record_layer(case: layer_cases.LayerCase, arrays: dict[str, Any]) -> dict[str, Any]:
    """Calls a layer as its case says; the last call is differentiated."""
    layer = getattr(keras.layers, case.layer)(**case.kwargs)
    if case.adapt_shape is not None:
        layer.adapt(case.adapt_data())
    first = [jnp.asarray(x) for x in case.inputs(0)]
    if case.adapt_shape is None:
        layer.build(first[0].shape if len(first) == 1 else [x.shape for x in first])
    names_and_shapes = [(w.name, w.shape) for w in layer.weights]
    if case.adapt_shape is None:
        layer.set_weights(case.weights(names_and_shapes))
    options = {} if case.training is None else {"training": case.training}

    for call in range(case.calls):
        inputs = [jnp.asarray(x) for x in case.inputs(call)]
        trainable = [v.value for v in layer.trainable_variables]
        fixed = [v.value for v in layer.non_trainable_variables]

        def run(trainable: Any, inputs: Any, fixed: Any = fixed) -> Any:
            argument = inputs[0] if len(inputs) == 1 else inputs
            return layer.stateless_call(trainable, fixed, argument, **options)

        output, state = run(trainable, inputs)
        for variable, value in zip(layer.non_trainable_variables, state):
            variable.assign(value)

    cotangent = case.cotangent(output.shape)
    arrays[f"{case.name}/output"] = output

    def scalar(trainable: Any, inputs: Any) -> Any:
        return jnp.sum(run(trainable, inputs)[0] * cotangent)

    for i, gradient in enumerate(jax.grad(scalar, argnums=0)(trainable, inputs)):
        arrays[f"{case.name}/weight_gradient{i}"] = gradient
    if case.differentiable_input:
        for i, gradient in enumerate(jax.grad(scalar, argnums=1)(trainable, inputs)):
            arrays[f"{case.name}/input_gradient{i}"] = gradient
    for i, weight in enumerate(layer.non_trainable_weights):
        arrays[f"{case.name}/state{i}"] = np.asarray(weight)
    return {
        "auto_name": layer.name,
        "weights": [[name, list(shape)] for name, shape in names_and_shapes],
        "trainable": [w.name for w in layer.trainable_weights],
        "output_shape": list(output.shape),
    }


if __name__ == "__main__":
    main()
