"""What every test has: the backends there are, a source of random numbers, and hypothesis made repeatable."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from gradlite.backends import Backend, get_backend

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("repeatable")

DEVICES = ("cpu",)


@pytest.fixture(params=DEVICES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that works here."""
    return get_backend(request.param)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that are the same in every run and differ from test to test."""
    return np.random.default_rng([ord(c) for c in request.node.name])
