"""Kernels of dynamic loss scaling: whether a step counts is decided, and acted on, where the gradients are.

`finite` is an int32 array of shape (), 1 or 0, which the host never reads.
"""

from __future__ import annotations

from typing import Any

from gradlite.backends.registry import REFERENCE, into, reference_kernel


@reference_kernel
def unscale(xp: Any, finite: Any, *arrays: Any) -> None:
    """gradients /= scale; `finite` becomes 1 if all their elements were finite, else 0. The arrays: gradients, then the
    scale, a float ()."""
    *gradients, scale = arrays
    finite[...] = 1
    for gradient in gradients:
        finite *= xp.isfinite(gradient).all()
        gradient /= scale


@reference_kernel
def adapt_scale(xp: Any, scale: Any, count: Any, finite: Any, *, growth_steps: int) -> None:
    """The scale (), a float, and the `count` (), int64, of good steps in a row, after a step that was `finite` or not.

    `growth_steps` good steps double the scale, a bad one halves it (Micikevicius et al., ICLR 2018, section 3.2).
    """
    good = finite != 0
    grows = good & (count >= growth_steps - 1)
    scale *= xp.where(good, xp.where(grows, 2.0, 1.0), 0.5).astype(scale.dtype)
    count[...] = xp.where(good & ~grows, count + 1, 0)


@reference_kernel
def is_due(xp: Any, finite: Any, count: Any, *, every: int, out: Any = None) -> Any:
    """1 if `finite` is and `count`, int64, is a multiple of `every`, else 0: int32, ()."""
    return into(out, xp.asarray(finite * (count % every == 0)))


@reference_kernel
def gated(xp: Any, *arrays: Any, update: str, **attributes: Any) -> None:
    """The update kernel of this name, where the last array, `go`, int32 (), is not 0; else the others stay what they
    are."""
    *arguments, go = arrays
    changed = [xp.array(x) if isinstance(x, xp.ndarray) else x for x in arguments]
    REFERENCE[update](xp, *changed, **attributes)
    for x, new in zip(arguments, changed):
        if isinstance(x, xp.ndarray):
            x[...] = xp.where(go != 0, new, x)
