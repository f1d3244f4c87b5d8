"""no_grad and enable_grad: as context managers and decorators, nested, per thread."""

from __future__ import annotations

import threading

import pytest

import gradlite
from gradlite import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


@pytest.fixture
def x():
    return Tensor([1.0, 2.0], requires_grad=True)


def test_nothing_is_recorded_inside_no_grad(x):
    with gradlite.no_grad():
        assert not gradlite.is_grad_enabled()
        y = x * 2
    assert gradlite.is_grad_enabled()
    assert not y.requires_grad
    assert y.is_leaf


def test_enable_grad_inside_no_grad_records(x):
    with gradlite.no_grad():
        with gradlite.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_both_are_decorators(x):
    @gradlite.no_grad()
    def plain(x):
        return x * 2

    @gradlite.no_grad()
    @gradlite.enable_grad()
    def recorded(x):
        return x * 2

    assert not plain(x).requires_grad
    assert recorded(x).requires_grad
    assert gradlite.is_grad_enabled()


def test_a_decorated_function_may_call_itself(x):
    @gradlite.no_grad()
    def down(n):
        assert not gradlite.is_grad_enabled()
        return x * 2 if n == 0 else down(n - 1)

    assert not down(3).requires_grad
    assert gradlite.is_grad_enabled()


def test_one_manager_may_be_entered_twice(x):
    manager = gradlite.no_grad()
    with manager:
        with manager:
            assert not gradlite.is_grad_enabled()
        assert not gradlite.is_grad_enabled()
    assert gradlite.is_grad_enabled()


def test_an_exception_restores_the_mode(x):
    with pytest.raises(KeyError), gradlite.no_grad():
        raise KeyError
    assert gradlite.is_grad_enabled()


def test_other_threads_record_on_their_own(x):
    seen = []

    def look():
        seen.append(gradlite.is_grad_enabled())
        with gradlite.no_grad():
            inside.set()
            leave.wait(5)

    inside, leave = threading.Event(), threading.Event()
    with gradlite.no_grad():
        thread = threading.Thread(target=look)
        thread.start()
        inside.wait(5)
    assert seen == [True]
    assert gradlite.is_grad_enabled()
    leave.set()
    thread.join()


def test_a_decorated_function_running_in_two_threads_restores_each_ones_mode():
    inside, leave = threading.Event(), threading.Event()

    @gradlite.no_grad()
    def wait():
        inside.set()
        leave.wait(5)

    @gradlite.no_grad()
    def other():
        wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(5)
    leave.set()
    wait()
    assert gradlite.is_grad_enabled()
    thread.join()


def test_a_decorated_function_entered_by_one_thread_and_left_by_another_first():
    entered, go = threading.Event(), threading.Event()
    modes = []

    @gradlite.no_grad()
    def hold(event, wait):
        event.set()
        wait.wait(5)

    def thread_body():
        with gradlite.no_grad():
            hold(entered, go)
        modes.append(gradlite.is_grad_enabled())

    thread = threading.Thread(target=thread_body)
    started = threading.Event()
    main_inside, main_go = started, threading.Event()

    def late():
        entered.wait(5)
        main_go.set()

    watcher = threading.Thread(target=late)
    watcher.start()

    # This thread enters first (recording was on), the other second (it was off); this one leaves first.
    def start_other():
        main_inside.wait(5)
        thread.start()

    starter = threading.Thread(target=start_other)
    starter.start()
    hold(main_inside, main_go)
    assert gradlite.is_grad_enabled()
    go.set()
    for t in (thread, watcher, starter):
        t.join()
    assert modes == [True]
