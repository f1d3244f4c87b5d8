"""What every test has: the devices there are, a source of random numbers, and hypothesis made repeatable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from devices import DEVICES, backend_named
from hypothesis import HealthCheck, settings

import gradlite
from gradlite import config, keras
from gradlite.backends import Backend
from gradlite.keras import dtype_policies

settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out on other devices what is marked ``cpu_only``."""

    def belongs(item: pytest.Item) -> bool:
        device = getattr(item, "callspec", None) and item.callspec.params.get("backend")
        return device in (None, "cpu") or item.get_closest_marker("cpu_only") is None

    items[:] = [item for item in items if belongs(item)]


@pytest.fixture(params=DEVICES)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend that works here."""
    return backend_named(request.param)


@pytest.fixture
def each_device(backend: Backend) -> Iterator[str]:
    """The test runs once on each device, where everything goes that it makes.

    A file of tests that holds for all devices says ``pytestmark = pytest.mark.usefixtures("each_device")``.
    """
    with gradlite.device(backend.device):
        yield backend.device


@pytest.fixture(autouse=True)
def settings_of_the_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products in exact float32, unless a test asks for less; no test changes what the next one finds."""
    precision, device, floatx = config.get_matmul_precision(), gradlite.get_device(), keras.backend.floatx()
    monkeypatch.setattr(dtype_policies, "_policy", dtype_policies._policy)
    config.set_matmul_precision("highest")
    yield
    config.set_matmul_precision(precision)
    config.set_winograd(True)
    keras.backend.set_floatx(floatx)
    gradlite.set_device(device)


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that are the same in every run and differ from test to test."""
    return np.random.default_rng([ord(c) for c in request.node.name])
