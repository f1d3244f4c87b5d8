"""One seed for every source of random numbers that a training script may use."""

from __future__ import annotations

import random

import numpy as np

from gradlite.random import set_seed


def set_random_seed(seed: int) -> None:
    """Seed Python's ``random``, NumPy's global generator and gradlite's own streams.

    With it, building and training a model twice gives the same bits. ``seed`` is a non-negative int below 2**32.

    >>> import random
    >>> from gradlite.keras.utils.seed import set_random_seed
    >>> set_random_seed(3); first = random.random()
    >>> set_random_seed(3); first == random.random()
    True
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"Expected `seed` to be a non-negative integer below 2**32. Received: seed={seed!r}.")
    random.seed(int(seed))
    np.random.seed(int(seed))
    set_seed(int(seed))
