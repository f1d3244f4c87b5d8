"""``python -m gradlite doctor`` where there is a GPU, real or emulated."""

from __future__ import annotations

import cupy_stand_in
import pytest
from devices import emulated

from gradlite import doctor as module
from gradlite.__main__ import main
from gradlite.doctor import doctor


def lines():
    found = []
    return doctor(found.append), "\n".join(found)


def test_the_gpu_is_described_and_a_step_on_it_agrees_with_the_cpu(gpu):
    works, text = lines()
    assert works
    for part in ("CuPy ", "CUDA runtime ", "gpu:0: ", "compute capability ", "free", "set_device('auto') takes gpu:0"):
        assert part in text
    assert "gpu:0 self-test: kernels compile" in text
    assert "losses as on the CPU" in text


def test_a_gpu_that_computes_wrongly_is_reported_and_the_exit_code_says_so(gpu, monkeypatch, capsys):
    train = module._train
    monkeypatch.setattr(module, "_train", lambda device: (train(device)[0] + (device != "cpu"), "wrong"))
    assert main(["doctor"]) == 1
    assert "gpu:0 self-test: failed. ArithmeticError: losses on gpu:0 are" in capsys.readouterr().out


@pytest.mark.skipif(not emulated(), reason="changes the machine that is stood in for")
def test_every_gpu_is_looked_at(gpu, monkeypatch):
    from gradlite import backends

    monkeypatch.setattr(backends, "_gpus", dict(backends._gpus))
    with cupy_stand_in.settings(devices=2):
        works, text = lines()
    assert works
    assert text.count("self-test: kernels compile") == 2
