import functools

import numpy as np
import pytest
import scipy.spatial.distance
from sklearn.metrics import average_precision_score

from tfcount.metrics import localization


def most_pairs(predicted, heads, sigma):
    """Returns the size of a maximum matching, by trying all."""
    if not len(predicted) or not len(heads):
        return 0
    near = scipy.spatial.distance.cdist(predicted, heads) <= np.broadcast_to(sigma, len(heads))

    @functools.cache
    def best(index, taken):
        if index == len(near):
            return 0
        free = [head for head in np.flatnonzero(near[index]).tolist() if head not in taken]
        return max(best(index + 1, taken), *(1 + best(index + 1, taken | {head}) for head in free), 0)

    return best(0, frozenset())


def crowds(rng, count, most=7):
    """Yields small crowds with a sigma for each head: of grid points, so that distances are often exactly sigma."""
    for _ in range(count):
        n, m = rng.integers(0, most + 1, 2)
        yield rng.integers(0, 7, (n, 2)), rng.integers(0, 7, (m, 2)), rng.integers(1, 5, m)


def test_golden():
    """Head 0 is 3 pixels from both predictions, head 1 is near prediction 0 alone: both are found only if prediction 0
    leaves head 0 to prediction 1."""
    np.testing.assert_array_equal(localization.match([[0, 0], [6, 0]], [[3, 0], [1, 0]], 3), [[0, 1], [1, 0]])


@pytest.mark.parametrize("sigma, pairs", [(5, 1), (4.999, 0)])
def test_a_distance_of_sigma_counts(sigma, pairs):
    """sqrt(3^2 + 4^2) = 5."""
    assert len(localization.match([[3, 4]], [[0, 0]], sigma)) == pairs
    assert localization.true_positive_gains([[3, 4]], [1], [[0, 0]], [sigma]).sum() == pairs


def test_each_head_has_its_sigma():
    """The prediction between is 2 pixels from both heads; only the second reaches as far."""
    np.testing.assert_array_equal(localization.match([[2, 0]], [[0, 0], [4, 0]], [1, 2]), [[0, 1]])


def test_the_largest_number_of_pairs_by_brute_force(rng):
    for predicted, heads, sigma in crowds(rng, 300):
        pairs = localization.match(predicted, heads, sigma)
        assert pairs.shape == (most_pairs(predicted, heads, sigma), 2) and pairs.dtype == np.int64
        assert np.all(np.diff(pairs[:, 0]) > 0) and len(set(pairs[:, 1])) == len(pairs)
        distance = np.linalg.norm(predicted[pairs[:, 0]] - heads[pairs[:, 1]], axis=-1)
        assert np.all(distance <= sigma[pairs[:, 1]])


def test_gains_add_up_to_the_largest_number_of_pairs_at_every_threshold(rng):
    sigmas = np.array([3, 1, 6, 2])
    for predicted, heads, _ in crowds(rng, 100):
        scores = rng.integers(0, 4, len(predicted)) / 4
        gains = localization.true_positive_gains(predicted, scores, heads, sigmas)
        assert gains.shape == (4, len(predicted)) and gains.dtype == bool
        for sigma, row in zip(sigmas, gains):
            for threshold in (0, 0.25, 0.5, 0.75):
                kept = scores >= threshold
                assert row[kept].sum() == most_pairs(predicted[kept], heads, sigma)


@pytest.mark.parametrize("spread", [200, 60])
def test_gains_of_a_crowd_agree_with_match(rng, spread):
    heads = rng.uniform(0, spread, (300, 2))
    predicted = np.concatenate([heads[:250] + rng.normal(0, 3, (250, 2)), rng.uniform(0, spread, (150, 2))])
    scores = rng.random(400)
    sigmas = np.arange(1.0, 40)
    gains = localization.true_positive_gains(predicted, scores, heads, sigmas)
    for sigma, row in zip(sigmas, gains):
        for threshold in (0, 0.5, 0.9):
            kept = scores >= threshold
            assert row[kept].sum() == len(localization.match(predicted[kept], heads, sigma))


def test_a_long_chain():
    """Each prediction lies midway between two heads, but for the last one, which is beside the first head alone: all
    others must move on by a head for it to be paired."""
    heads = np.stack([np.arange(2000.0), np.zeros(2000)], -1)
    predicted = np.concatenate([heads[:-1] + np.array([0.5, 0]), [[-0.5, 0]]])
    assert len(localization.match(predicted, heads, 0.5)) == 2000
    assert localization.true_positive_gains(predicted, -np.arange(2000), heads, [0.5]).all()


@pytest.mark.parametrize(
    "change, factor",
    [
        (lambda points: points - [-1000.5, 20], 1),
        (lambda points: points * [-1, 1], 1),
        (lambda points: points[:, ::-1], 1),
        (lambda points: 3 * points, 3),
    ],
    ids=["moved", "mirrored", "transposed", "enlarged"],
)
def test_pairs_do_not_depend_on_where_the_image_lies(rng, change, factor):
    predicted, heads, sigma = rng.random((60, 2)) * 50, rng.random((50, 2)) * 50, rng.uniform(2, 6, 50)
    expected = len(localization.match(predicted, heads, sigma))
    assert 0 < expected == len(localization.match(change(predicted), change(heads), factor * sigma))


def test_roles_and_order_do_not_change_the_number_of_pairs(rng):
    predicted, heads = rng.random((60, 2)) * 50, rng.random((50, 2)) * 50
    expected = len(localization.match(predicted, heads, 4))
    assert len(localization.match(heads, predicted, 4)) == expected
    assert len(localization.match(rng.permutation(predicted), rng.permutation(heads), 4)) == expected


def test_a_larger_sigma_pairs_no_fewer(rng):
    predicted, heads = rng.random((80, 2)) * 100, rng.random((70, 2)) * 100
    pairs = localization.true_positive_gains(predicted, rng.random(80), heads, range(1, 101)).sum(-1)
    assert np.all(np.diff(pairs) >= 0) and pairs[-1] == 70


@pytest.mark.parametrize("n, m", [(0, 0), (0, 3), (3, 0)])
@pytest.mark.parametrize("empty", [[], np.zeros((0, 2))], ids=["list", "array"])
def test_nobody(n, m, empty):
    points = np.arange(6.0).reshape(3, 2)
    predicted, heads = points if n else empty, points if m else empty
    assert localization.match(predicted, heads, 8).shape == (0, 2)
    assert localization.match(predicted, heads, np.full(m, 8)).shape == (0, 2)
    gains = localization.true_positive_gains(predicted, np.ones(n), heads, localization.FIXED_SIGMAS)
    assert gains.shape == (2, n) and not gains.any()
    assert localization.true_positive_gains(predicted, np.ones(n), heads, []).shape == (0, n)


@pytest.mark.parametrize("n, m", [(1, 1), (5, 3), (3, 5), (40, 40)])
def test_points_on_one_spot(n, m):
    pairs = localization.match(np.ones((n, 2)), np.ones((m, 2)), 1e-9)
    assert len(pairs) == min(n, m) == len(set(pairs[:, 0])) == len(set(pairs[:, 1]))
    assert localization.true_positive_gains(np.ones((n, 2)), range(n), np.ones((m, 2)), [1e-9]).sum() == min(n, m)


def test_very_different_sigmas_at_once():
    """Of two heads on one spot the one with the wide radius takes what is far, the other what is on it."""
    pairs = localization.match([[0, 0], [900, 0]], [[0, 0], [0, 0]], [1e-9, 1000])
    np.testing.assert_array_equal(pairs, [[0, 0], [1, 1]])


def test_metrics_golden():
    """Two images: 3 + 0 pairs, 4 + 1 predictions, 3 + 7 heads. Precision 3 / 5, recall 3 / 10, F1 = 6 / 15. The means
    over the images would be 0.375 and 0.5."""
    metrics = localization.localization_metrics([3, 0], [4, 1], [3, 7])
    assert metrics == pytest.approx({"precision": 0.6, "recall": 0.3, "f1": 0.4})


def test_metrics_by_sigma():
    metrics = localization.localization_metrics(np.array([[1, 2], [3, 3]]), np.array([4, 2]), np.array([3, 7]))
    np.testing.assert_allclose(metrics["precision"], [3 / 6, 6 / 6])
    np.testing.assert_allclose(metrics["recall"], [3 / 10, 6 / 10])
    np.testing.assert_allclose(metrics["f1"], [6 / 16, 12 / 16])


@pytest.mark.parametrize(
    "predicted, heads, expected",
    [(0, 0, (np.nan, np.nan, np.nan)), (0, 2, (np.nan, 0, 0)), (2, 0, (0, np.nan, 0)), (2, 2, (0, 0, 0))],
)
def test_metrics_of_nobody(predicted, heads, expected):
    np.testing.assert_equal(tuple(localization.localization_metrics([0], [predicted], [heads]).values()), expected)


def test_nwpu_sigmas_golden():
    """6 x 9: int(3) and int(sqrt(117) / 2 = 5.41). 3 x 4: int(1.5) and int(2.5). 1 x 5: int(0.5) = 0, which is given as
    1e-9, and int(sqrt(26) / 2 = 2.55). No extent: 0 and 0."""
    small, large = localization.nwpu_sigmas([[1, 1, 7, 10], [10, 20, 13, 24], [0, 0, 1, 5], [4, 4, 4, 4]])
    np.testing.assert_allclose(small, [3, 1, 1e-9, 1e-9])
    np.testing.assert_allclose(large, [5, 2, 2, 1e-9])
    assert [len(sigma) for sigma in localization.nwpu_sigmas([])] == [0, 0]
    assert len(localization.match([[2, 2], [4, 4]], [[2.1, 2], [4, 4]], small[2:])) == 1


def test_curve_golden():
    """Scores 0.9 (a head), 0.5 (none), 0.5 (a head), 0.1 (none), 4 heads. At 0.9: 1 / 1 and 1 / 4; at 0.5, both at
    once: 2 / 3 and 2 / 4; at 0.1: 2 / 4 and 2 / 4. Area: 1 * 0.25 + 2 / 3 * 0.25 + 0."""
    scores, gains = [0.5, 0.1, 0.9, 0.5], np.array([True, False, True, False])
    curve = localization.precision_recall_curve(scores, gains, 4)
    np.testing.assert_allclose(curve.thresholds, [0.9, 0.5, 0.1])
    np.testing.assert_allclose(curve.precision, [1, 2 / 3, 1 / 2])
    np.testing.assert_allclose(curve.recall, [1 / 4, 2 / 4, 2 / 4])
    assert localization.average_precision(scores, gains, 4) == pytest.approx(0.25 + 0.25 * 2 / 3)


def test_area_agrees_with_scikit_learn(rng):
    """That one divides by the number of heads that are found, not by that of all heads."""
    scores, gains = rng.integers(0, 30, 200), rng.random((3, 200)) < 0.4
    expected = [average_precision_score(gain, scores) * gain.sum() / 150 for gain in gains]
    np.testing.assert_allclose(localization.average_precision(scores, gains, 150), expected)


@pytest.mark.parametrize("scores, heads, expected", [([], 3, 0), ([], 0, np.nan), ([0.5], 0, np.nan), ([0.5], 2, 0)])
def test_area_of_nobody(scores, heads, expected):
    gains = np.zeros((2, len(scores)), bool)
    np.testing.assert_equal(localization.average_precision(scores, gains, heads), np.array([expected, expected]))


def test_perfect_points_have_area_one(rng):
    heads, scores = rng.random((50, 2)) * 100, rng.random(50)
    gains = localization.true_positive_gains(heads, scores, heads, localization.UCF_QNRF_SIGMAS)
    metrics = localization.ucf_qnrf_metrics([scores], [gains], [50], -1)
    assert metrics == pytest.approx({"precision": 1, "recall": 1, "auc": 1})


def test_ucf_qnrf_golden():
    """One prediction with score 0.8, 30.5 pixels from its head: a true positive at 70 of 100 sigmas; one with score 0.4
    on one of the two heads of another image: at all of them. 3 heads.

    Above 0.5 the first is left: precision 0.7, recall 0.7 / 3. The area is 1 / 3 + 1 / 3 at 70 sigmas; at 30 it is
    1 / 2 * 1 / 3, as one of two predictions found a head: 0.7 * 2 / 3 + 0.3 / 6 = 0.51667."""
    images = [([[30.5, 0]], [0.8], [[0, 0]]), ([[5, 5]], [0.4], [[5, 5], [500, 5]])]
    gains = [localization.true_positive_gains(*image, localization.UCF_QNRF_SIGMAS) for image in images]
    metrics = localization.ucf_qnrf_metrics([image[1] for image in images], gains, [1, 2], 0.5)
    assert metrics == pytest.approx({"precision": 0.7, "recall": 0.7 / 3, "auc": 0.51666667})


def test_ucf_qnrf_of_nobody():
    nothing = np.zeros((100, 0), bool)
    metrics = localization.ucf_qnrf_metrics([[], []], [nothing, nothing], [2, 0], 0.5)
    np.testing.assert_equal(metrics, {"precision": np.nan, "recall": 0.0, "auc": 0.0})
    with pytest.raises(ValueError, match="No image with points was evaluated"):
        localization.ucf_qnrf_metrics([], [], [], 0.5)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([[0, np.nan]], [[0, 0]], 4), r"`predicted` must be finite. Received: \[0.0, nan\] in row 0."),
        (([[0, 0]], [[0, 0], [np.inf, 0]], 4), r"`heads` must be finite. Received: \[inf, 0.0\] in row 1."),
        (([[0, 0, 0]], [[0, 0]], 4), r"`predicted` must have shape \(n, 2\). Received: \(1, 3\)."),
        (([0, 0], [[0, 0]], 4), r"`predicted` must have shape \(n, 2\). Received: \(2,\)."),
        (([[0, 0]], [[0, 0]], 0), "`sigma` must be positive and finite. Received: 0.0."),
        (([[0, 0]], [[0, 0]], [-1]), "`sigma` must be positive and finite. Received: -1.0."),
        (([[0, 0]], [[0, 0]], np.nan), "`sigma` must be positive and finite. Received: nan."),
        (([[0, 0]], [[0, 0]], np.inf), "`sigma` must be positive and finite. Received: inf."),
        (([[0, 0]], [[0, 0]], [1, 2]), r"`sigma` must be a number or one for each of 1 heads. Received: \(2,\)."),
    ],
)
def test_errors_of_match(arguments, message):
    with pytest.raises(ValueError, match=message):
        localization.match(*arguments)


@pytest.mark.parametrize(
    "scores, sigmas, message",
    [
        ([1, 2], [4], r"`scores` must have shape \(1,\). Received: \(2,\)."),
        ([np.nan], [4], "`scores` must be finite. Received: nan."),
        ([1], 4, r"`sigmas` must have shape \(s,\). Received: \(\)."),
        ([1], [4, 0], "`sigmas` must be positive and finite. Received: 0.0."),
    ],
)
def test_errors_of_gains(scores, sigmas, message):
    with pytest.raises(ValueError, match=message):
        localization.true_positive_gains([[0, 0]], scores, [[0, 0]], sigmas)


@pytest.mark.parametrize(
    "boxes, message",
    [
        ([[5, 0, 4, 9]], r"`boxes` must be left, top, right, bottom. Received: \[5.0, 0.0, 4.0, 9.0\]."),
        ([[0, 0, 4]], r"`boxes` must have shape \(n, 4\). Received: \(1, 3\)."),
        ([[0, 0, np.nan, 9]], r"`boxes` must be finite. Received: \[0.0, 0.0, nan, 9.0\] in row 0."),
    ],
)
def test_errors_of_boxes(boxes, message):
    with pytest.raises(ValueError, match=message):
        localization.nwpu_sigmas(boxes)
