"""Lists of native launches, and the threads that run them: the same bits alone, together, in forks and from threads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings
from functools import partial

import numpy as np
import pytest

import gradlite
from gradlite.backends.cpu import BACKEND, native, parallel

pytestmark = pytest.mark.skipif(not native.is_available(), reason="native kernels are switched off, or need numba")


@pytest.fixture(autouse=True)
def two_threads():
    before = gradlite.get_num_threads()
    gradlite.set_num_threads(2)
    yield
    gradlite.set_num_threads(before)


def arrays(rows=64):
    rng = np.random.default_rng(rows)
    return [rng.standard_normal(shape).astype(np.float32) for shape in ((rows, 300), (300, 200), (200,))]


def test_a_list_of_launches_gives_what_single_launches_give():
    x, w, bias = arrays()
    once = BACKEND.launch("dense", x, w, bias)
    outs = [np.empty_like(once) for _ in range(3)]
    kernel = BACKEND.kernels["dense"]

    run = BACKEND.bind([partial(kernel, x, w, bias, out=out) for out in outs])
    for _ in range(200):
        for out in outs:
            out.fill(np.nan)
        run()
        for out in outs:
            np.testing.assert_array_equal(out, once)


def test_calls_without_a_plan_run_between_those_that_have_one():

    x, w, bias = arrays()
    first, second = np.empty((64, 200), np.float32), np.empty((64, 200), np.float32)
    kernel = BACKEND.kernels["dense"]
    calls = [
        partial(kernel, x, w, bias, out=first),
        partial(np.tanh, first, out=first),
        partial(kernel, x, w, bias, out=second),
    ]
    BACKEND.bind(calls)()
    np.testing.assert_array_equal(first, np.tanh(second))


def test_several_python_threads_get_the_same_bits():
    x, w, bias = arrays()
    expected = BACKEND.launch("dense", x, w, bias)
    wrong = []

    def work():
        for _ in range(300):
            if not np.array_equal(BACKEND.launch("dense", x, w, bias), expected):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_native_launches_and_parts_in_python_take_turns_with_the_same_threads():
    x, w, bias = arrays()
    expected = BACKEND.launch("dense", x, w, bias)
    for _ in range(100):
        seen: list[int] = []
        BACKEND.launch("dense", x, w, bias)
        parallel.run(lambda t, threads, seen=seen: seen.append(t), parts=2)
        assert sorted(seen) == [0, 1]
        np.testing.assert_array_equal(BACKEND.launch("dense", x, w, bias), expected)


def test_one_thread_computes_a_program_that_was_cut_for_two():

    x, w, bias = arrays()
    out = np.empty((64, 200), np.float32)
    run = BACKEND.bind([partial(BACKEND.kernels["dense"], x, w, bias, out=out)])
    run()
    both = out.copy()
    gradlite.set_num_threads(1)
    out.fill(np.nan)
    run()
    np.testing.assert_array_equal(out, both)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_computes_with_threads_of_its_own():
    x, w, bias = arrays()
    expected = BACKEND.launch("dense", x, w, bias)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this is about
        child = os.fork()
    if child == 0:
        same = all(np.array_equal(BACKEND.launch("dense", x, w, bias), expected) for _ in range(20))
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    np.testing.assert_array_equal(BACKEND.launch("dense", x, w, bias), expected)


def run_python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True)


def test_a_process_ends_while_threads_still_look_for_work():
    code = (
        "import numpy as np\nfrom gradlite.backends.cpu import BACKEND\n"
        "x = np.ones((64, 300), np.float32); w = np.ones((300, 200), np.float32)\n"
        "print(BACKEND.launch('dense', x, w, None)[0, 0])"
    )
    for _ in range(3):
        ran = run_python(code)
        assert (ran.returncode, ran.stdout.strip(), ran.stderr) == (0, "300.0", "")


def test_the_variable_switches_native_kernels_off_and_refuses_other_words():
    code = "from gradlite.backends.cpu import BACKEND; print(hasattr(BACKEND.kernels['dense'], 'plan'))"
    assert run_python(code, GRADLITE_CPU_KERNELS="numpy").stdout.strip() == "False"
    assert run_python(code, GRADLITE_CPU_KERNELS="numba").stdout.strip() == "True"
    assert (
        "GRADLITE_CPU_KERNELS is one of numba, numpy. Received: 'fast'"
        in run_python(code, GRADLITE_CPU_KERNELS="fast").stderr
    )


def test_importing_gradlite_imports_neither_numba_nor_llvm():
    code = "import sys, gradlite; print([m for m in ('numba', 'llvmlite') if m in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "2"])
def test_a_number_of_threads_is_a_positive_integer(number):
    with pytest.raises(ValueError, match="positive integer"):
        gradlite.set_num_threads(number)


def test_numpy_computes_where_native_code_cannot_be_made(tmp_path):
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text("raise ImportError('no LLVM for this machine')")
    code = (
        "import numpy as np, gradlite\nfrom gradlite.backends.cpu import BACKEND\n"
        "x, w = np.ones((8, 30), np.float32), np.ones((30, 20), np.float32)\n"
        "for _ in range(3): y = BACKEND.launch('dense', x, w, None)\n"
        "print(y[0, 0])"
    )
    ran = run_python(code, PYTHONPATH=os.pathsep.join([str(tmp_path), os.getcwd()]))
    assert (ran.returncode, ran.stdout.strip()) == (0, "30.0"), ran.stderr
    assert ran.stderr.count("NumPy computes: ImportError: no LLVM for this machine") == 1
