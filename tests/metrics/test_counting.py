import numpy as np
import pytest

from tfcount.metrics import counting

TRUTH = np.array([10.0, 0.0, 20.0])
PREDICTED = np.array([12.0, 3.0, 10.0])


def test_golden():
    """Errors 2, 3, -10. MAE 15 / 3; RMSE sqrt(113 / 3); NAE (2 / 10 + 10 / 20) / 2; MRE 5 / (30 / 3); bias -5 / 3."""
    assert counting.mae(TRUTH, PREDICTED) == 5
    assert counting.rmse(TRUTH, PREDICTED) == pytest.approx(np.sqrt(113 / 3))
    assert counting.nae(TRUTH, PREDICTED) == pytest.approx(0.35)
    assert counting.mre(TRUTH, PREDICTED) == pytest.approx(0.5)
    assert counting.bias(TRUTH, PREDICTED) == pytest.approx(-5 / 3)


def test_nobody_in_any_image():
    empty = np.zeros(3)
    assert counting.mae(empty, PREDICTED) == pytest.approx(25 / 3)
    assert np.isnan(counting.nae(empty, PREDICTED))
    assert np.isnan(counting.mre(empty, PREDICTED))


def test_intervals_hold_the_value_and_shrink_with_the_number_of_images(rng):
    truth = rng.uniform(50, 500, 400)
    predicted = truth + rng.normal(0, 30, 400)
    few = counting.bootstrap_intervals(truth[:50], predicted[:50])
    many = counting.bootstrap_intervals(truth, predicted)
    for name, metric in counting.METRICS.items():
        low, high = many[name]
        assert low < metric(truth, predicted) < high
        assert high - low < few[name][1] - few[name][0]


def test_interval_of_the_mean_agrees_with_the_normal_distribution(rng):
    errors = rng.exponential(30, 1000)
    low, high = counting.bootstrap_intervals(np.full(1000, 100.0), 100 + errors)["mae"]
    half = 1.96 * errors.std() / np.sqrt(1000)
    assert (high - low) / 2 == pytest.approx(half, rel=0.05)


def test_one_image_has_an_interval_of_no_width():
    assert counting.bootstrap_intervals(np.array([5.0]), np.array([7.0]))["mae"] == (2, 2)


def test_kendall_tau():
    """Of three pairs, two are in order, and (10, 20) -> (12, 10) is not: (2 - 1) / 3."""
    assert counting.kendall_tau(TRUTH, PREDICTED) == pytest.approx(1 / 3)
    assert np.isnan(counting.kendall_tau(np.zeros(3), PREDICTED))


def test_paired_bootstrap_sees_what_the_intervals_of_the_means_hide(rng):
    hardness = rng.uniform(0, 200, 100)
    baseline = hardness + rng.uniform(0, 4, (1, 100))
    better = hardness + rng.uniform(0, 4, (1, 100)) - 1
    low, high = counting.paired_bootstrap(better, baseline)
    assert -2 < low < np.mean(better - baseline) < high < 0
    alone = counting.paired_bootstrap(better, np.zeros((1, 100)))
    other = counting.paired_bootstrap(baseline, np.zeros((1, 100)))
    assert alone[1] > other[0]


def test_paired_bootstrap_of_one_seed_is_that_of_the_mean(rng):
    errors = np.abs(rng.normal(0, 10, 50))
    low, high = counting.paired_bootstrap(errors, np.zeros(50))
    expected = counting.bootstrap_intervals(np.zeros(50), errors)["mae"]
    assert (low, high) == pytest.approx(expected, rel=0.02)


def test_paired_bootstrap_knows_that_seeds_differ(rng):
    """Two seeds that are 10 apart: the mean over two drawn ones is at either in half of the draws."""
    errors = np.array([np.full(50, 0.0), np.full(50, 10.0)])
    assert counting.paired_bootstrap(errors, np.full((1, 50), 5.0)) == (-5, 5)


def test_paired_bootstrap_needs_the_same_images():
    with pytest.raises(ValueError, match=r"must be of the same images. Received: 3, 4"):
        counting.paired_bootstrap(np.zeros((1, 3)), np.zeros((1, 4)))


def test_ranking_accuracy():
    """Differ more than twice: 10 and 0, 20 and 0. 20 and 10 differ more than 1.5 times, and are out of order."""
    assert counting.ranking_accuracy(TRUTH, PREDICTED) == 1
    assert counting.ranking_accuracy(TRUTH, PREDICTED, 1.5) == pytest.approx(2 / 3)
    assert counting.ranking_accuracy(TRUTH, np.zeros(3)) == 0
    assert np.isnan(counting.ranking_accuracy(np.ones(3), PREDICTED))


def test_relative_accuracy():
    """10 / 12, 0 / 3 and 10 / 20; nobody seen where nobody is; a negative count is no better than none."""
    assert counting.relative_accuracy(TRUTH, PREDICTED) == pytest.approx((10 / 12 + 0.5) / 3)
    assert counting.relative_accuracy(np.array([0.0, 4.0]), np.array([0.0, -2.0])) == 0.5
