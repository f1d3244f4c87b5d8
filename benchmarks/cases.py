"""What every suite measures, as tables of cases, at three settings: smoke (seconds), quick and full (minutes)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from benchmarks import work
from benchmarks.images import Images
from benchmarks.models import architecture


@dataclass(frozen=True)
class Setting:
    """How thorough a run is."""

    rounds: int
    slow_rounds: int  # of cases that start processes or train to the end
    sample: float  # seconds that a sample should take at least, on a machine of a few cores


SETTINGS = {"smoke": Setting(2, 1, 0.0), "quick": Setting(3, 1, 0.08), "full": Setting(5, 2, 0.12)}
SUITES = ("models", "kernels", "overhead", "scale")
COMPILED_AT = 32  # the batch at which compilers that take tens of seconds are waited for
SLOW_COMPILER = "compiling takes far longer than measuring, so only training steps at batch 32 are measured"
SLOW_LOOP = "XLA runs convolutions inside a loop on one thread and some 20 times slower, so jit is the better rival"
SWEPT = ("gradlite-numpy", "gradlite-cpu", "gradlite-cuda", "torch-eager", "jax-jit")


@dataclass(frozen=True)
class Case:
    """One thing that rivals do in turns."""

    suite: str
    name: str
    task: str
    arguments: dict[str, Any]
    how: str = "turns"  # which of ``procedures.PROCEDURES`` measures it
    units: int = 1  # how many steps, or calls, one run of the work holds
    unit: str = "ms"
    work: dict[str, float] | None = None  # of one unit
    rivals: tuple[str, ...] | None = None  # these alone; by default all that know the task
    seconds: float | None = None  # repeat the work until a sample takes so long; None: it is long enough
    slow: bool = False  # takes ``slow_rounds``
    note: str | None = None
    without: dict[str, str] = field(default_factory=dict)  # rivals that are left out, and why


def plan(suite: str, setting: str, images: Images | None = None) -> Iterator[Case]:
    """The cases of a suite. ``images``: for the time to an accuracy, None to leave it out."""
    if suite == "models":
        yield from models(setting, images)
    else:
        yield from {"kernels": kernels, "overhead": overhead, "scale": scale}[suite](setting)


def steps_of(model: str, batch: int, seconds: float) -> int:
    """Steps of an epoch that take about so long: the same for every rival and on every machine."""
    todo = work.training_step(model, batch)
    one = 3e-4 + todo["flop"] / 60e9 + todo["bytes"] / 15e9
    return max(2, min(1000, round(seconds / one)))


def training(suite: str, name: str, model: str, batch: int, seconds: float, **more: Any) -> Case:
    """Training steps through a whole epoch, its beginning and end included."""
    steps = steps_of(model, batch, seconds)
    without = {}
    if batch != COMPILED_AT:
        without["torch-compiled"] = SLOW_COMPILER
    if any(layer.kind == "conv" for layer in architecture(model).layers):
        without["jax-scan"] = SLOW_LOOP
    arguments = {"model": model, "batch": batch, "steps": steps}
    todo = work.training_step(model, batch)
    return Case(suite, name, "train", arguments, units=steps, work=todo, without=without, **more)


TRAINED = {
    "smoke": {"mnist": (8,), "vggnet": (2,), "alvinn": (8,)},
    "quick": {"mnist": (32, 1024), "vggnet": (32,), "alvinn": (32,), "wide-mlp": (128,)},
    "full": {
        "mnist": (1, 32, 128, 1024, 4096),
        "vggnet": (32, 128),
        "alvinn": (32,),
        "deep-vgg": (32,),
        "wide-mlp": (128,),
    },
}
PREDICTED = {
    "smoke": {"mnist": (8,)},
    "quick": {"mnist": (1024,), "vggnet": (32,)},
    "full": {"mnist": (1024,), "vggnet": (128,), "deep-vgg": (32,)},
}
ONE_BY_ONE = {"smoke": ("mnist",), "quick": ("mnist",), "full": ("mnist", "vggnet", "alvinn")}
STARTED = {"smoke": {"mnist": 2}, "quick": {"mnist": 469}, "full": {"mnist": 469, "vggnet": 10}}
ACCURACY = 0.97


def models(setting: str, images: Images | None) -> Iterator[Case]:
    """Networks: training steps, predictions, time to an accuracy, time from nothing to the first epoch."""
    seconds = SETTINGS[setting].sample
    for model, batches in TRAINED[setting].items():
        for batch in batches:
            yield training("models", f"{model}/train/{batch}", model, batch, seconds)
    compiled = {"torch-compiled": SLOW_COMPILER}
    for model, batches in PREDICTED[setting].items():
        for batch in batches:
            todo = work.prediction(model, batch)
            steps = max(2, min(400, round(seconds / (1e-4 + todo["flop"] / 80e9 + todo["bytes"] / 15e9))))
            arguments = {"model": model, "batch": batch, "steps": steps}
            name = f"{model}/predict/{batch}"
            yield Case("models", name, "predict", arguments, units=steps, work=todo, without=compiled)
    for model in ONE_BY_ONE[setting]:
        steps = 2 if setting == "smoke" else 50
        arguments = {"model": model, "steps": steps}
        todo = work.prediction(model, 1)
        name = f"{model}/one-sample"
        yield Case("models", name, "one_sample", arguments, units=steps, unit="us", work=todo, without=compiled)
    if images is not None:
        arguments = {"path": images.path, "target": ACCURACY, "batch": 128, "epochs": 1 if setting == "smoke" else 10}
        note = f"until {ACCURACY:.0%} of the test images are right, asked after every epoch; batch 128"
        name = f"{images.name}/accuracy-97"
        yield Case(
            "models", name, "accuracy", arguments, unit="s", how="once_warm", slow=True, note=note, without=compiled
        )
    for model, steps in STARTED[setting].items():
        batch = 128 if model == "mnist" else COMPILED_AT
        arguments = {"model": model, "batch": batch, "steps": steps}
        note = f"import, building, and an epoch of {steps} steps at batch {batch}"
        name = f"{model}/start"
        yield Case(
            "models", name, "train", arguments, how="from_start", unit="s", slow=True, note=note,
            without={} if model == "mnist" else {"jax-scan": SLOW_LOOP, "torch-compiled": SLOW_COMPILER},
        )  # fmt: skip


PRODUCTS = {
    "smoke": {"square/16": (16, 16, 16)},
    "quick": {"square/1024": (1024, 1024, 1024), "mnist-first/32": (32, 784, 512)},
    "full": {
        "square/256": (256, 256, 256),
        "square/1024": (1024, 1024, 1024),
        "square/2048": (2048, 2048, 2048),
        "mnist-first/32": (32, 784, 512),
        "mnist-first/1024": (1024, 784, 512),
        "mnist-weights/32": (784, 32, 512),
        "vggnet-dense/32": (32, 4096, 512),
        "vggnet-dense-weights/32": (4096, 32, 512),
    },
}
# Batch, side, channels, filters: ShallowVGGNet's layers, and a large one.
CONVOLUTIONS = {
    "smoke": {"layer-2/1": (1, 6, 4, 4)},
    "quick": {"layer-2/32": (32, 32, 32, 32)},
    "full": {
        "layer-1/32": (32, 32, 3, 32),
        "layer-2/32": (32, 32, 32, 32),
        "layer-3/32": (32, 16, 32, 64),
        "layer-4/32": (32, 16, 64, 64),
        "large/16": (16, 56, 64, 64),
    },
}
PASSES = ("conv2d", "conv2d_input_gradient", "conv2d_weight_gradient")
# In a cache, and far beyond it.
ELEMENTS = {"smoke": (64,), "quick": (2**22,), "full": (2**14, 2**18, 2**23)}
PARAMETERS = {"smoke": (64,), "quick": (407_050,), "full": (407_050, 2_169_770)}  # of the two lecture models
IMAGES = {"smoke": (1, 4, 3), "quick": (32, 32, 32), "full": (32, 32, 32)}


def kernels(setting: str) -> Iterator[Case]:
    """Kernels alone: products and convolutions in GFLOP/s, what is bound by memory in GB/s."""
    for kernel, name, sizes, todo in (*_products(setting), *_memory_bound(setting)):
        unit = "GFLOP/s" if todo["flop"] else "GB/s"
        arguments = {"name": kernel, **sizes}
        seconds = SETTINGS[setting].sample / 3
        yield Case("kernels", f"{kernel}/{name}", "kernel", arguments, unit=unit, work=todo, seconds=seconds)


Kernel = tuple[str, str, dict[str, int], dict[str, float]]  # its name, the case's, sizes, work


def _products(setting: str) -> Iterator[Kernel]:
    for name, (n, k, m) in PRODUCTS[setting].items():
        yield "matmul", name, {"n": n, "k": k, "m": m}, work.matrix_product(n, k, m)
    for name, (batch, side, channels, filters) in CONVOLUTIONS[setting].items():
        sizes = {"batch": batch, "side": side, "channels": channels, "filters": filters}
        for kernel in PASSES:
            yield kernel, name, sizes, work.convolution(batch, side, channels, filters)


def _memory_bound(setting: str) -> Iterator[Kernel]:
    for n in ELEMENTS[setting]:
        for kernel, arrays in {"relu": 2, "exp": 2, "add": 3, "sum": 1}.items():
            yield kernel, f"elements/{n}", {"elements": n}, work.touching(arrays * n)
    for n in PARAMETERS[setting]:
        yield "adam", f"parameters/{n}", {"elements": n}, work.touching(7 * n)
    batch, side, channels = IMAGES[setting]
    size, images = batch * side * side * channels, {"batch": batch, "side": side, "channels": channels}
    # The pooling also writes where each maximum was, a byte for each of size / 4.
    moved = {"batch_norm": 3 * size, "batch_norm_gradient": 5 * size, "max_pool2d": size + 5 * size // 16}
    for kernel, count in (moved | {"dropout": 2 * size}).items():
        yield kernel, f"images/{batch}", images, work.touching(count)
    rows = batch * side * side
    yield "column_sum", f"rows/{rows}", {"rows": rows, "columns": channels}, work.touching(size)
    rows, classes = 32 * batch, 10
    sizes = {"rows": rows, "classes": classes}
    yield "sparse_softmax_cross_entropy", f"rows/{rows}", sizes, work.touching(2 * rows * classes)


OURS = ("gradlite-numpy", "gradlite-cpu")
EAGER = tuple(f"{name}-eager" for name in OURS)
IN_STEPS = {"smoke": {"mnist": (2, 4)}, "quick": {"mnist": (32, 50)}, "full": {"mnist": (32, 100), "vggnet": (32, 5)}}
INSTALLED = "as it is installed here, with all that it requires"
FOOTPRINTS = ("gradlite-numpy", "gradlite-cpu", "torch-eager", "keras-jax", "keras-tensorflow", "jax-jit")


def overhead(setting: str) -> Iterator[Case]:
    """What is not arithmetic: single operations, eager and captured steps, import, install size, memory."""
    seconds = SETTINGS[setting].sample
    for name in ("exp", "multiply", "add"):
        yield Case("overhead", f"operation/{name}", "operation", {"name": name}, unit="us", seconds=seconds)
    for model, (batch, steps) in IN_STEPS[setting].items():
        arguments = {"model": model, "batch": batch, "steps": steps}
        name = f"step/{model}/{batch}"
        todo = work.training_step(model, batch)
        yield Case("overhead", name, "train", arguments, units=steps, work=todo, rivals=OURS + EAGER)
        arguments = {"model": model, "batch": batch, "repeats": max(3, steps // 2)}
        yield Case("overhead", f"{model}/{batch}", "inside", arguments, how="inside", rivals=OURS)
    rivals = FOOTPRINTS if setting != "smoke" else OURS
    yield Case("overhead", "import", "import", {}, how="imports", unit="s", slow=True, rivals=rivals)
    yield Case(
        "overhead", "install", "install", {}, how="installs", unit="MiB", slow=True, rivals=rivals, note=INSTALLED
    )
    for model, (batch, _) in IN_STEPS[setting].items():
        arguments = {"model": model, "batch": batch, "steps": 3}
        note = "the most memory that the process had, libraries included"
        name = f"memory/{model}/{batch}"
        yield Case("overhead", name, "train", arguments, how="memory", unit="MiB", slow=True, rivals=rivals, note=note)


BATCHES = {"smoke": (2, 4, 8), "quick": (16, 128, 1024), "full": (1, 16, 64, 256, 1024, 4096)}
WIDTHS = {"smoke": (4, 8, 16), "quick": (128, 512, 2048), "full": (128, 256, 512, 1024, 2048)}
DEPTHS = {"smoke": (1, 2, 3), "quick": (1, 4, 16), "full": (1, 2, 4, 8, 16)}
IMAGE_BATCHES: dict[str, tuple[int, ...]] = {"smoke": (), "quick": (), "full": (2, 8, 32)}
DATASETS = {"smoke": (32, 64, 128), "quick": (1000, 4000, 16000), "full": (1000, 4000, 16000)}


def scale(setting: str) -> Iterator[Case]:
    """How a step's time grows with batch, width and depth, and an epoch's with the data."""
    seconds = SETTINGS[setting].sample / 2
    sweeps = [("mlp/batch", BATCHES, lambda n: ("mlp-512x1", n)), ("mlp/width", WIDTHS, lambda n: (f"mlp-{n}x2", 128))]
    sweeps += [("mlp/depth", DEPTHS, lambda n: (f"mlp-256x{n}", 128))]
    sweeps += [("vggnet/batch", IMAGE_BATCHES, lambda n: ("vggnet", n))]
    for name, sizes, made in sweeps:
        for n in sizes[setting]:
            yield training("scale", f"{name}/{n}", *made(n), seconds, rivals=SWEPT)
    batch = 32 if setting == "smoke" else 125  # every size is a whole number of batches
    for n in DATASETS[setting]:
        arguments = {"model": "mnist", "batch": batch, "steps": n // batch}
        note = f"an epoch at batch {batch}"
        yield Case("scale", f"mnist/dataset/{n}", "train", arguments, rivals=SWEPT, note=note)
