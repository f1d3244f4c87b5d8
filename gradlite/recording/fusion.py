"""Fusion: launches of a recorded program that one kernel can do together.

The layers of a model say what to compute one after the other; only the recorded program shows that nobody else reads
what lies between two launches. Every rule keeps the bits: a fused kernel is one whose results are those of the kernels
that it stands for, which tests hold for each backend.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gradlite.backends import Backend
from gradlite.recording.bookkeeping import MEAN_LOSSES, draws_together, loss_with_what_follows, totals_together
from gradlite.recording.conversions import conversions_together
from gradlite.recording.launches import Launches, without
from gradlite.recording.normalizations import convolutions_of_what_they_normalize, convolutions_that_normalize
from gradlite.recording.plan import inputs_of
from gradlite.recording.recorder import Call
from gradlite.recording.updates import gradients_with_their_updates

PRODUCTS = ("dense", "conv2d")
# Not tanh and sigmoid, though products know them: their last bits may differ from one kernel to the next.
EXACT_ACTIVATIONS = ("relu",)
# The gradients of a dense layer, and which of their arrays are the incoming gradient and the layer's output.
DENSE_GRADIENTS = {"dense_input_gradient": (0, 1), "dense_weight_gradient": (1, 2)}


def fused(backend: Backend, calls: Sequence[Call], outputs: Iterable[Any]) -> list[Call]:
    """The launches of a program, with fewer kernels and the same results.

    Args:
        outputs: arrays that are read after the program; their memory is written as before.
    """
    kept = {backend.memory_of(array).identity for array in outputs}
    result = list(calls)
    for name, rule in RULES.items():
        if name in backend.fusions:
            result = rule(Launches(backend, result, kept))
    return result


def _activations_into_products(program: Launches) -> list[Call]:
    """A product whose result only an activation reads applies it itself."""
    calls, gone = list(program.calls), set()
    for number, call in enumerate(program.calls):
        if call.name not in PRODUCTS or call.attributes.get("activation") or len(call.results) != 1:
            continue
        readers = program.only_readers(call)
        if len(readers) != 1:
            continue
        follower = program.calls[readers[0]]
        if follower.name not in EXACT_ACTIVATIONS or len(follower.results) != 1 or len(follower.arrays) != 1:
            continue
        (raw,), (y,) = call.results, follower.results
        if program.is_whole(follower.arrays[0], raw) and y.shape == raw.shape and y.dtype == raw.dtype:
            attributes = {**call.attributes, "activation": follower.name}
            calls[number] = replace(call, attributes=attributes, results=(y,))
            gone.add(readers[0])
    return without(calls, gone)


def _activation_gradients_into_products(program: Launches) -> list[Call]:
    """The gradients of a dense layer take the gradient behind its relu, and mask it while they read it."""
    calls, gone = list(program.calls), set()
    for number, call in enumerate(program.calls):
        if call.name != "relu_gradient" or len(call.results) != 1:
            continue
        gradient, y = call.arrays
        readers = program.only_readers(call)
        if not readers or gradient.shape != y.shape or not program.unwritten((gradient, y), number, readers[-1]):
            continue
        if all(_masks_by_itself(program, program.calls[reader], call) for reader in readers):
            for reader in readers:
                product = program.calls[reader]
                arrays = list(product.arrays)
                arrays[DENSE_GRADIENTS[product.name][0]] = gradient
                arrays[DENSE_GRADIENTS[product.name][1]] = y
                calls[reader] = replace(
                    product, arrays=tuple(arrays), attributes={**product.attributes, "activation": "relu"}
                )
            gone.add(number)
    return without(calls, gone)


def _activation_gradients_into_normalizations(program: Launches) -> list[Call]:
    """The gradient of a normalization whose input is a relu's output is taken on through that in one kernel."""
    calls, gone = list(program.calls), set()
    for number, call in enumerate(program.calls):
        if call.name != "batch_norm_max_pool2d_dropout_gradient" or call.attributes.get("activation"):
            continue
        dx, x = call.results[0], call.arrays[1]
        readers = program.readers_of(dx)
        if len(readers) != 1 or program.calls[readers[0]].name != "relu_gradient":
            continue
        follower = program.calls[readers[0]]
        (gradient, y), masked = follower.arrays, follower.results
        whole = program.same(gradient, dx) and program.is_whole(y, x) and program.is_like(masked[0], dx)
        if whole and program.unwritten((x,), number, readers[0]):
            calls[number] = replace(
                call, attributes={**call.attributes, "activation": "relu"}, results=(masked[0], *call.results[1:])
            )
            gone.add(readers[0])
    return without(calls, gone)


def _masks_by_itself(program: Launches, product: Call, masked: Call) -> bool:
    """Whether ``product`` is a gradient of a dense layer without activation, of the whole result of ``masked``."""
    if product.name not in DENSE_GRADIENTS or product.attributes.get("activation"):
        return False
    position, output = DENSE_GRADIENTS[product.name]
    (result,) = masked.results
    reads = Counter(program.identity(x) for x in inputs_of(product, program.backend.array_type))[
        program.identity(result)
    ]
    return reads == 1 and product.arrays[output] is None and program.is_whole(product.arrays[position], result)


def _averages_together(program: Launches) -> list[Call]:
    """The moving averages of all layers are updated by one launch, where the last of them was."""
    groups: dict[tuple[float, str], list[int]] = {}
    for number, call in enumerate(program.calls):
        if call.name == "moving_average" and call.arrays[2] is None:
            groups.setdefault((call.attributes["momentum"], call.arrays[0].dtype.char), []).append(number)
    calls, gone = list(program.calls), set()
    for (momentum, _), numbers in groups.items():
        if len(numbers) < 2:
            continue
        pairs = [program.calls[number].arrays[:2] for number in numbers]
        averages, values = ([pair[i] for pair in pairs] for i in (0, 1))
        moved = {program.identity(x) for x in averages}
        others = [c for i, c in enumerate(program.calls[numbers[0] : numbers[-1]], numbers[0]) if i not in numbers]
        kind = program.backend.array_type
        # Nobody else may look at the averages in the meantime, nor change in place what they are to take in.
        touched = {program.identity(x) for c in others for x in inputs_of(c, kind)}
        changed = {program.identity(x) for c in others if not c.results for x in inputs_of(c, kind)}
        if len(moved) < len(averages) or moved & touched or changed & {program.identity(x) for x in values}:
            continue
        last = numbers[-1]
        calls[last] = Call(
            "moving_averages",
            program.backend.kernels["moving_averages"],
            (*averages, *values),
            {"momentum": momentum},
            (),
            False,
        )
        gone.update(numbers[:-1])
    return without(calls, gone)


def _adam_without_packing(program: Launches) -> list[Call]:
    """Adam reads each gradient where it is, in one launch for all, instead of a packed copy of them."""
    packs = [i for i, call in enumerate(program.calls) if call.name == "pack"]
    updates = [i for i, call in enumerate(program.calls) if call.name == "adam" and call.arrays[4] is None]
    if len(packs) != 1 or not updates or packs[0] > updates[0]:
        return program.calls
    pack, first = program.calls[packs[0]], program.calls[updates[0]]
    packed = pack.attributes["out"]
    identity = program.identity(packed)
    runs: list[tuple[Any, ...]] = []
    for number in updates:
        call = program.calls[number]
        p, g, m, v, _, rate, step = call.arrays
        if rate is not first.arrays[5] or step is not first.arrays[6] or call.attributes != first.attributes:
            return program.calls
        if program.identity(g) == identity:
            runs += _unpacked(program, pack, p, g, m, v)
        else:
            runs.append((p, g, m, v))
    # The packed copy is read by these updates alone, nobody changes what was packed, and the updates are one after the
    # other: before them others may do what they like to the weights.
    readers = set(program.readers[identity]) - {packs[0]} - set(updates)
    mixed = any(run[0].dtype != run[1].dtype for run in runs)
    in_a_row = updates == list(range(updates[0], updates[-1] + 1))
    if readers or mixed or not in_a_row or not program.unwritten(pack.arrays, packs[0] + 1, updates[0] - 1):
        return program.calls
    calls = list(program.calls)
    calls[updates[-1]] = Call(
        "adam_segments",
        program.backend.kernels["adam_segments"],
        (*(run[i] for i in range(4) for run in runs), first.arrays[5], first.arrays[6]),
        first.attributes,
        (),
        False,
    )
    return without(calls, {packs[0], *updates[:-1]})


def _unpacked(program: Launches, pack: Call, p: Any, g: Any, m: Any, v: Any) -> list[tuple[Any, ...]]:
    """An update of a run of the packed gradients as updates by the arrays that were packed there."""
    start = (
        program.backend.memory_of(g).offset - program.backend.memory_of(pack.attributes["out"]).offset
    ) // g.itemsize
    runs = []
    for array, offset in zip(pack.arrays, pack.attributes["offsets"]):
        if start <= offset < start + g.size:
            span = slice(offset - start, offset - start + array.size)
            runs.append((p[span], array, m[span], v[span]))
    return runs


def _count_of_correct_answers(program: Launches) -> list[Call]:
    """What accuracy counts, the sum of where the largest score is the label's, is one launch."""
    calls, gone = list(program.calls), set()
    for number, largest in enumerate(program.calls):
        if largest.name != "argmax" or largest.arrays[0].ndim != 2 or largest.attributes.get("axis") not in (1, -1):
            continue
        matches = program.only_reader(largest, "equal")
        total = program.only_reader(program.calls[matches], "sum") if matches else None
        if matches is None or total is None or largest.attributes.get("keepdims"):
            continue
        labels, places = program.calls[matches].arrays
        result, scores = program.calls[total].results[0], largest.arrays[0]
        plain = isinstance(labels, program.backend.array_type) and labels.dtype.kind in "iu"
        whole = plain and labels.shape == scores.shape[:1] and program.is_whole(places, largest.results[0])
        found = _rows_of_labels(program, labels, matches) if whole else None
        first = number
        if found is not None and program.calls[found].arrays[0].shape == scores.shape:
            first, labels = min(number, found), program.calls[found].arrays[0]
        else:
            found = None
        if whole and result.shape == () and program.unwritten((labels, scores), first, total):
            function = program.backend.kernels["count_correct"]
            calls[total] = Call("count_correct", function, (labels, scores), {}, (result,), True)
            gone |= {number, matches} if found is None else {number, matches, found}
    return without(calls, gone)


def _rows_of_labels(program: Launches, labels: Any, reader: int) -> int | None:
    """The call that looked for the largest of each row of labels, if nobody else reads what it found."""
    maker = program.maker_of(labels)
    if maker < 0 or program.readers_of(labels) != [reader]:
        return None
    call = program.calls[maker]
    rows = call.name == "argmax" and call.arrays[0].ndim == 2 and call.arrays[0].dtype.kind == "f"
    plain = call.attributes.get("axis") in (1, -1) and not call.attributes.get("keepdims")
    return maker if rows and plain and program.is_whole(labels, call.results[0]) else None


def _softmax_once(program: Launches) -> list[Call]:
    """The probabilities that a cross-entropy computes are those of the model's softmax, which need not run as well."""
    for number, call in enumerate(program.calls):
        if call.name != "softmax" or len(call.results) != 1:
            continue
        (y,) = call.results
        for later in range(number + 1, len(program.calls)):
            loss = program.calls[later]
            if loss.name in MEAN_LOSSES and program.is_whole(loss.arrays[0], call.arrays[0]):
                readers = program.only_readers(call)
                p = loss.results[2]
                if readers and readers[0] > later and program.is_whole_everywhere(y, readers) and p.shape == y.shape:
                    calls = [
                        replace(c, arrays=tuple(p if program.same(x, y) else x for x in c.arrays))
                        if i in readers
                        else c
                        for i, c in enumerate(program.calls)
                    ]
                    return without(calls, {number})
    return program.calls


RULES: dict[str, Callable[[Launches], list[Call]]] = {
    "activation": _activations_into_products,
    "activation gradient": _activation_gradients_into_products,
    "normalization gradient": _activation_gradients_into_normalizations,
    "normalized output": convolutions_that_normalize,  # behind the convolutions' activations
    "normalized input": convolutions_of_what_they_normalize,
    "moving averages": _averages_together,
    "correct answers": _count_of_correct_answers,
    "softmax": _softmax_once,
    "conversions": conversions_together,
    "draws": draws_together,
    "totals": totals_together,
    "adam": _adam_without_packing,
    "weight updates": gradients_with_their_updates,
    "loss": loss_with_what_follows,  # behind it, calls that return something may change totals too
}
