"""Precision, recall, AUC, confusion matrices and F scores against counting one by one, and against exact areas."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from gradlite.keras import metrics
from gradlite.tensor import Tensor

pytestmark = pytest.mark.usefixtures("each_device")


def outcomes(y: np.ndarray, p: np.ndarray, w: np.ndarray, threshold: float) -> dict[str, float]:
    """The weight of each outcome, sample by sample."""
    found = dict.fromkeys(("tp", "fp", "tn", "fn"), 0.0)
    for label, score, weight in zip(y.ravel(), p.ravel(), w.ravel()):
        above = score > threshold
        found[{(1, 1): "tp", (0, 1): "fp", (0, 0): "tn", (1, 0): "fn"}[int(label != 0), int(above)]] += weight
    return found


def ratio(a: float, b: float) -> float:
    return a / b if b else 0.0


def batch(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, float32 scores (some of them exactly 0, 0.5 and 1) and weights."""
    p = rng.choice([0.0, 0.5, 1.0], shape)
    p = np.where(rng.uniform(size=shape) < 0.7, rng.uniform(size=shape), p).astype("float32")
    return rng.integers(0, 2, shape), p, rng.uniform(0, 2, shape)


# One, uneven ones, and even ones, which are counted in buckets.
THRESHOLDS: list[Any] = [None, 0.3, [0.5], [0.2, 0.7], [0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.1, 0.5, 1.0]]


@pytest.mark.parametrize("thresholds", THRESHOLDS, ids=str)
@pytest.mark.parametrize("shape", [(7,), (7, 1), (6, 3), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_counts_are_those_of_each_sample_and_threshold(
    weighted: bool, shape: tuple[int, ...], thresholds: Any, rng: np.random.Generator
) -> None:
    kinds = {
        "tp": metrics.TruePositives, "fp": metrics.FalsePositives, "tn": metrics.TrueNegatives,
        "fn": metrics.FalseNegatives,
    }  # fmt: skip
    counts = {key: kind(thresholds=thresholds) for key, kind in kinds.items()}
    precision, recall = metrics.Precision(thresholds=thresholds), metrics.Recall(thresholds=thresholds)
    levels = [0.5] if thresholds is None else np.atleast_1d(thresholds)
    expected = [dict.fromkeys(kinds, 0.0) for _ in levels]
    for _ in range(2):
        y, p, w = batch(rng, shape)
        w = w if weighted else np.ones(shape)
        for metric in (*counts.values(), precision, recall):
            metric.update_state(y, p, sample_weight=w if weighted else None)
        for total, level in zip(expected, levels):
            for key, value in outcomes(y, p, w, np.float32(level)).items():
                total[key] += value
    for key, metric in counts.items():
        np.testing.assert_allclose(np.atleast_1d(metric.result().numpy()), [e[key] for e in expected], rtol=1e-5)
    wanted = [ratio(e["tp"], e["tp"] + e["fp"]) for e in expected]
    np.testing.assert_allclose(np.atleast_1d(precision.result().numpy()), wanted, rtol=1e-5)
    wanted = [ratio(e["tp"], e["tp"] + e["fn"]) for e in expected]
    np.testing.assert_allclose(np.atleast_1d(recall.result().numpy()), wanted, rtol=1e-5)
    assert precision.result().ndim == (0 if len(levels) == 1 else 1)


def test_weights_of_samples_hold_for_all_their_columns(rng: np.random.Generator) -> None:
    y, p, _ = batch(rng, (5, 5))
    w = rng.uniform(size=5)
    expected = outcomes(y, p, np.repeat(w[:, None], 5, 1), 0.5)["tp"]
    assert float(metrics.TruePositives()(y, p, sample_weight=w)) == pytest.approx(expected, rel=1e-5)


def test_top_k_and_class_id_choose_what_can_be_positive(rng: np.random.Generator) -> None:
    y, p = rng.integers(0, 2, (9, 5)), rng.permutation(45).reshape(9, 5) / 45
    chosen = np.argsort(np.argsort(-p)) < 2
    right = (chosen & (y == 1)).sum()
    assert float(metrics.Precision(top_k=2)(y, p)) == pytest.approx(right / 18)
    assert float(metrics.Recall(top_k=2)(y, p)) == pytest.approx(right / y.sum())
    column = chosen[:, 3]
    assert float(metrics.Precision(top_k=2, class_id=3)(y, p)) == pytest.approx(
        ratio((column & (y[:, 3] == 1)).sum(), column.sum())
    )
    above = p[:, 1] > 0.5
    assert float(metrics.Recall(class_id=1)(y, p)) == pytest.approx(
        ratio((above & (y[:, 1] == 1)).sum(), y[:, 1].sum())
    )
    with pytest.raises(ValueError, match="class_id=1 needs predictions of shape"):
        metrics.Recall(class_id=1)(y[:, 0], p[:, 0])


def test_nan_scores_are_above_no_threshold() -> None:
    y, p = [1, 0, 1], np.array([np.nan, np.nan, 0.9], np.float32)
    assert metrics.TruePositives()(y, p).numpy() == 1.0
    assert metrics.TruePositives(thresholds=[0.0, 0.5, 1.0])(y, p).numpy().tolist() == [1.0, 1.0, 0.0]
    assert np.isfinite(float(metrics.AUC()(y, p)))


def exact_auc(y: np.ndarray, p: np.ndarray) -> float:
    """The share of pairs of a positive and a negative that are in order; ties count half (Mann and Whitney, 1947)."""
    pairs = [(a > b) + 0.5 * (a == b) for a, b in itertools.product(p[y == 1], p[y == 0])]
    return float(np.mean(pairs))


def test_the_area_under_the_roc_curve_is_the_share_of_ordered_pairs(rng: np.random.Generator) -> None:
    # Scores on a grid between the thresholds: at 101 of them no two different scores share an interval.
    y = rng.integers(0, 2, 60)
    p = ((rng.integers(0, 100, 60) + 0.5) / 100 * 0.7 + 0.3 * y * 0.5).round(2) + 0.005
    metric = metrics.AUC(num_thresholds=101)
    for part in (slice(0, 13), slice(13, 60)):
        metric.update_state(y[part], p[part])
    assert float(metric.result()) == pytest.approx(exact_auc(y, p), rel=1e-5)


def curve(y: np.ndarray, p: np.ndarray, w: np.ndarray, thresholds: np.ndarray) -> list[dict[str, float]]:
    return [outcomes(y, p, w, t) for t in thresholds]


@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@pytest.mark.parametrize("kind", ["ROC", "PR"])
@pytest.mark.parametrize("thresholds", [None, [0.1, 0.35, 0.8]], ids=str)
def test_areas_are_sums_over_the_intervals_between_thresholds(
    kind: str, method: str, thresholds: list[float] | None, rng: np.random.Generator
) -> None:
    if (kind, method) == ("PR", "interpolation"):
        return  # not a polygon; see the test of the integral below
    metric = metrics.AUC(num_thresholds=11, curve=kind, summation_method=method, thresholds=thresholds)
    y, p, w = batch(rng, (40,))
    levels = np.linspace(0, 1, 11)[1:-1] if thresholds is None else np.array(thresholds)
    points = curve(y, p, w, np.float32([-1, *levels, 2]))
    recall = [ratio(c["tp"], c["tp"] + c["fn"]) for c in points]
    if kind == "ROC":
        x, height = [ratio(c["fp"], c["fp"] + c["tn"]) for c in points], recall
    else:
        x, height = recall, [ratio(c["tp"], c["tp"] + c["fp"]) for c in points]
    combine = {"interpolation": lambda a, b: (a + b) / 2, "minoring": min, "majoring": max}[method]
    expected = sum((a - b) * combine(c, d) for a, b, c, d in zip(x, x[1:], height, height[1:]))
    assert float(metric(y, p, sample_weight=w)) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_area_under_the_precision_recall_curve_is_the_integral_between_thresholds(
    rng: np.random.Generator,
) -> None:
    y, p, w = batch(rng, (40,))
    points = curve(y, p, w, np.float32([-1, *np.linspace(0, 1, 6)[1:-1], 2]))
    positives, expected = points[0]["tp"], 0.0
    for a, b in itertools.pairwise(points):
        # Along an interval tp and fp change in proportion; precision is summed over recall in small steps.
        steps = np.linspace(0, 1, 20001)
        tp, fp = b["tp"] + steps * (a["tp"] - b["tp"]), b["fp"] + steps * (a["fp"] - b["fp"])
        precision = np.divide(tp, tp + fp, out=np.full_like(tp, np.nan), where=tp + fp > 0)
        if np.isnan(precision[0]):
            precision[0] = precision[1]
        if a["tp"] > b["tp"]:
            expected += np.trapezoid(precision, tp) / positives
    metric = metrics.AUC(num_thresholds=6, curve="PR")
    assert float(metric(y, p, sample_weight=w)) == pytest.approx(expected, rel=1e-3)


def test_perfect_and_reversed_scores_have_areas_one_and_zero() -> None:
    y, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert float(metrics.AUC()(y, p)) == pytest.approx(1.0)
    assert float(metrics.AUC(curve="PR")(y, p)) == pytest.approx(1.0)
    assert float(metrics.AUC()(y, 1 - p)) == pytest.approx(0.0)


@pytest.mark.parametrize("num_labels", [None, 3])
@pytest.mark.parametrize("thresholds", [None, [0.2, 0.5, 0.9]], ids=str)
def test_a_multi_label_area_is_the_mean_of_those_of_the_columns(
    thresholds: list[float] | None, num_labels: int | None, rng: np.random.Generator
) -> None:
    y, p, _ = batch(rng, (30, 3))
    w = rng.uniform(size=30)
    columns = [float(metrics.AUC(thresholds=thresholds)(y[:, i], p[:, i], sample_weight=w)) for i in range(3)]
    together = metrics.AUC(multi_label=True, num_labels=num_labels, thresholds=thresholds)
    assert float(together(y, p, sample_weight=w)) == pytest.approx(np.mean(columns), rel=1e-5)
    weighted = metrics.AUC(multi_label=True, label_weights=[1.0, 0.0, 3.0], thresholds=thresholds)
    assert float(weighted(y, p, sample_weight=w)) == pytest.approx((columns[0] + 3 * columns[2]) / 4, rel=1e-5)


def test_weights_of_labels_weigh_columns_that_share_a_curve(rng: np.random.Generator) -> None:
    y, p, w = batch(rng, (20, 2))
    found = metrics.AUC(label_weights=[2.0, 0.5])(y, p, sample_weight=w)
    expected = metrics.AUC()(y.ravel(), p.ravel(), sample_weight=(w * [2.0, 0.5]).ravel())
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_an_area_from_logits_is_that_of_their_sigmoid(rng: np.random.Generator) -> None:
    y, x = rng.integers(0, 2, 30), rng.normal(size=30).astype("float32")
    expected = metrics.AUC()(y, (1 / (1 + np.exp(-x))).astype("float32"))
    assert float(metrics.AUC(from_logits=True)(y, x)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "argument", "wanted", "given"),
    [
        ("SensitivityAtSpecificity", "specificity", ("tp", "fn"), ("tn", "fp")),
        ("SpecificityAtSensitivity", "sensitivity", ("tn", "fp"), ("tp", "fn")),
        ("PrecisionAtRecall", "recall", ("tp", "fp"), ("tp", "fn")),
        ("RecallAtPrecision", "precision", ("tp", "fn"), ("tp", "fp")),
    ],
)
def test_a_rate_at_a_rate_is_the_best_over_thresholds_that_reach_it(
    name: str, argument: str, wanted: tuple[str, str], given: tuple[str, str], rng: np.random.Generator
) -> None:
    y, p, w = batch(rng, (50,))
    for number, value in ((1, 0.3), (5, 0.5), (21, 0.7), (21, 0.0), (21, 1.0)):
        metric = getattr(metrics, name)(**{argument: value}, num_thresholds=number)
        levels = np.float32([0.5] if number == 1 else np.linspace(0, 1, number))
        best = 0.0
        for c in curve(y, p, w, levels):
            rates = [ratio(c[a], c[a] + c[b]) for a, b in (wanted, given)]
            best = max(best, rates[0] if rates[1] >= value else 0.0)
        assert float(metric(y, p, sample_weight=w)) == pytest.approx(best, rel=1e-5)
    with pytest.raises(ValueError, match=rf"`{argument}` must be in the range \[0, 1\]"):
        getattr(metrics, name)(**{argument: 1.5})


def counted(y: np.ndarray, p: np.ndarray, w: np.ndarray, k: int) -> np.ndarray:
    matrix = np.zeros((k, k))
    for label, guess, weight in zip(y.ravel(), p.ravel(), w.ravel()):
        if 0 <= label < k and 0 <= guess < k:
            matrix[int(label), int(guess)] += weight
    return matrix


@pytest.mark.parametrize("shape", [(11,), (3, 4)], ids=str)
def test_a_confusion_matrix_counts_labels_by_row_and_predictions_by_column(
    shape: tuple[int, ...], rng: np.random.Generator
) -> None:
    k = 4
    metric, expected = metrics.ConfusionMatrix(k), np.zeros((k, k))
    for form in ("numbers", "scores", "column", "one_hot"):
        y, scores, w = rng.integers(0, k, shape), rng.uniform(size=(*shape, k)), rng.uniform(size=shape)
        guess = scores.argmax(-1)
        labels = {"column": y[..., None], "one_hot": np.eye(k)[y]}.get(form, y)
        metric.update_state(labels, guess if form == "numbers" else scores, sample_weight=w)
        expected += counted(y, guess, w, k)
    np.testing.assert_allclose(metric.result().numpy(), expected, rtol=1e-5)


def test_a_confusion_matrix_of_two_classes_takes_one_score_and_its_threshold() -> None:
    metric = metrics.ConfusionMatrix(2, threshold=0.6)
    found = metric([0, 1, 1, 0], [[0.5], [0.7], [0.6], [0.9]])
    assert found.numpy().tolist() == [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="two classes or more"):
        metrics.ConfusionMatrix(1)


def test_a_confusion_matrix_leaves_out_labels_that_are_no_class() -> None:
    metric = metrics.ConfusionMatrix(3)
    assert metric([0, -1, 3, 2], [0, 0, 1, 7]).numpy().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_intersection_over_union_is_the_mean_over_classes_that_occur(rng: np.random.Generator) -> None:
    y, p, w = rng.integers(0, 3, (2, 9)), rng.integers(0, 3, (2, 9)), rng.uniform(size=(2, 9))
    k = 5  # classes 3 and 4 never occur
    matrix = counted(y, p, w, k)
    with np.errstate(invalid="ignore"):
        each = np.diag(matrix) / (matrix.sum(0) + matrix.sum(1) - np.diag(matrix))
    assert float(metrics.MeanIoU(k)(y, p, sample_weight=w)) == pytest.approx(each[:3].mean(), rel=1e-5)
    found = metrics.IoU(k, target_class_ids=[0, 2, 4])(y, p, sample_weight=w)
    assert float(found) == pytest.approx(each[[0, 2]].mean(), rel=1e-5)
    scores = np.eye(k)[p]
    dense = metrics.MeanIoU(k, sparse_y_true=False, sparse_y_pred=False)
    assert float(dense(np.eye(k)[y], scores, sample_weight=w)) == pytest.approx(each[:3].mean(), rel=1e-5)
    ignoring = counted(y, p, w * (y != 1), k)
    with np.errstate(invalid="ignore"):
        each = np.diag(ignoring) / (ignoring.sum(0) + ignoring.sum(1) - np.diag(ignoring))
    found = metrics.IoU(k, target_class_ids=[0, 2], ignore_class=1)(y, p, sample_weight=w)
    assert float(found) == pytest.approx(each[[0, 2]].mean(), rel=1e-5)


@pytest.mark.parametrize("average", [None, "micro", "macro", "weighted"])
@pytest.mark.parametrize("threshold", [None, 0.4])
@pytest.mark.parametrize("beta", [1.0, 0.5, 2.0])
def test_f_scores_are_the_weighted_harmonic_mean_of_precision_and_recall(
    beta: float, threshold: float | None, average: str | None, rng: np.random.Generator
) -> None:
    metric, parts = metrics.FBetaScore(average=average, beta=beta, threshold=threshold), []
    for rows in (6, 1, 9):
        y, p, w = rng.integers(0, 2, (rows, 3)), rng.uniform(0.05, 1, (rows, 3)), rng.uniform(0.5, 1.5, rows)
        metric.update_state(y, p, sample_weight=w)
        guess = p > threshold if threshold is not None else p == p.max(-1, keepdims=True)
        parts.append((y, guess.astype(float), np.repeat(w[:, None], 3, 1)))
    y, guess, w = (np.concatenate(x) for x in zip(*parts))
    columns = [slice(None)] if average == "micro" else [0, 1, 2]
    scores, supports = [], []
    for column in columns:
        c = outcomes(y[:, column], guess[:, column], w[:, column], 0.5)
        precision, recall = ratio(c["tp"], c["tp"] + c["fp"]), ratio(c["tp"], c["tp"] + c["fn"])
        scores.append(ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall))
        supports.append(c["tp"] + c["fn"])
    expected: Any = np.array(scores)
    if average == "weighted":
        expected = np.average(scores, weights=supports)
    elif average is not None:
        expected = np.mean(scores)
    np.testing.assert_allclose(metric.result().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_f1_is_f_beta_of_one(rng: np.random.Generator) -> None:
    y, p = rng.integers(0, 2, (9, 3)), rng.uniform(size=(9, 3))
    first, second = metrics.F1Score(threshold=0.5)(y, p), metrics.FBetaScore(threshold=0.5)(y, p)
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    assert "beta" not in metrics.F1Score().get_config()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: metrics.Precision(thresholds=[0.5, 1.5]), r"Threshold values must be in \[0, 1\]. Received: \[1.5\]"),
        (lambda: metrics.Recall(thresholds=[]), r"Threshold values must be in \[0, 1\]"),
        (lambda: metrics.AUC(num_thresholds=1), "`num_thresholds` must be an integer > 1"),
        (lambda: metrics.AUC(curve="RO"), "Invalid curve: 'RO'. Expected one of 'ROC', 'PR', 'PRGAIN'"),
        (lambda: metrics.AUC(summation_method="mean"), "Invalid summation_method"),
        (lambda: metrics.AUC(num_labels=3), "only when `multi_label` is True"),
        (lambda: metrics.AUC(multi_label=True)([1, 0], [0.1, 0.2]), r"predictions of shape \(n, labels\)"),
        (lambda: metrics.FBetaScore(beta=0.0), "beta must be > 0"),
        (lambda: metrics.F1Score(average="mean"), "average must be"),
        (lambda: metrics.IoU(2, [2]), r"target_class_ids must be in \[0, 2\)"),
        (lambda: metrics.BinaryAccuracy(threshold=2.0), r"threshold must be in \[0, 1\]"),
    ],
)
def test_arguments_without_meaning_are_refused(make: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_many_thresholds_cost_no_memory_for_each_score(rng: np.random.Generator) -> None:
    import tracemalloc

    y, p = Tensor(rng.integers(0, 2, 50_000)), Tensor(rng.uniform(size=50_000).astype("float32"))
    metric = metrics.AUC(num_thresholds=1000)
    metric.update_state(y, p)
    tracemalloc.start()
    metric.update_state(y, p)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50_000 * 100  # bytes; comparing every score with every threshold takes 50 MB and more
