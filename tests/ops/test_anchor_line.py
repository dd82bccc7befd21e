import numpy as np
import pytest

from tfcount.ops.anchor_line import AnchorLine, fit


def test_a_line_is_found_again():
    potentials = np.array([-3.0, 0.5, 10.0, 2.0])
    found = fit(potentials, 40 * potentials + 130)
    assert found.slope == pytest.approx(40) and found.intercept == pytest.approx(130)
    assert (found.lowest, found.highest, found.images) == (10, 530, 4)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.count(1.0) == pytest.approx(170)


def test_least_squares(rng):
    potentials, counts = np.sort(rng.normal(size=50)), np.sort(rng.uniform(0, 100, 50))
    found = fit(potentials, counts)
    slope, intercept = np.polyfit(potentials, counts, 1)
    assert found.slope == pytest.approx(slope) and found.intercept == pytest.approx(intercept)
    assert found.error == pytest.approx(np.sqrt(np.mean((slope * potentials + intercept - counts) ** 2)))


def test_nobody_is_the_least():
    line = AnchorLine(slope=2.0, intercept=-5.0, lowest=10, highest=20)
    assert line.count(2.0) == 0 and line.count(3.0) == 1
    assert [line.extrapolates(count) for count in (9, 10, 20, 21)] == [True, False, False, True]


def test_without_anchors_the_sum_is_the_count():
    assert AnchorLine().count(12.5) == 12.5 and not AnchorLine().extrapolates(1e6)


@pytest.mark.parametrize(
    ("potentials", "counts", "message"),
    [
        ([1], [5], "1 anchors with 1 different counts give no line: take more anchors"),
        ([], [], "0 anchors with 0 different counts"),
        ([1, 2, 3], [5, 5, 5], "3 anchors with 1 different counts"),
        (
            [3, 2, 1],
            [1, 2, 3],
            r"potentials of the 3 anchors do not grow .*correlation -1.00\): the counter does not rank",
        ),
        ([2, 2, 2], [1, 2, 3], r"do not grow with their counts \(correlation 0.00\)"),
        ([1, np.nan], [1, 2], "finite"),
        ([1, 2], [1, np.inf], "finite"),
    ],
)
def test_anchors_that_give_no_line(potentials, counts, message):
    with pytest.raises(ValueError, match=message):
        fit(potentials, counts)
