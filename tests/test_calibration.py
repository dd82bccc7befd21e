"""What a few counted images say of the counts of a trained counter, by hand and against what is known by design."""

import json

import numpy as np
import pytest

from tfcount import calibration


def test_a_factor_by_hand():
    """Totals 12 and 10: 1.2. Left out: 8 / 8 = 1 and 4 / 2 = 2 give 2 x 1 = 2 and 8 x 2 = 16; errors -2 and +8."""
    line, summary = calibration.fit("factor", [2, 8], [4, 8])
    assert (line.slope, line.intercept, line.images) == (pytest.approx(1.2), 0, 2)
    assert line.lowest == 0 and not line.extrapolates(1e9)
    assert line.error == pytest.approx(np.sqrt((1.6**2 + 1.6**2) / 2))
    assert summary["before"] == {"mae": 1, "bias": -1}
    assert summary["after"] == {"mae": 5, "bias": 3}
    # Drawn are both images, or one of them twice.
    assert summary["interval"] == {"slope": (1, 2), "intercept": (0, 0)}
    assert not summary["shown"]


def test_a_line_by_hand():
    """Counts are 2 x sum + 1 but for the last, which lies on the line through the others' side: all on one line."""
    line, summary = calibration.fit("line", [1, 2, 4], [3, 5, 9])
    assert (line.slope, line.intercept, line.error) == (pytest.approx(2), pytest.approx(1), pytest.approx(0))
    assert summary["after"]["mae"] == pytest.approx(0) and summary["shown"]
    assert line.count(0) == pytest.approx(1)


@pytest.mark.parametrize("form", calibration.FORMS)
def test_what_is_known_by_design_is_found(form, rng):
    """Counters that see 80 of 100, with errors of 5 %: the interval holds 1.25, and left-out images are better."""
    truth = rng.uniform(20, 200, 12)
    line, summary = calibration.fit(form, 0.8 * truth * rng.normal(1, 0.05, 12), truth)
    low, high = summary["interval"]["slope"]
    assert low < 1.25 < high and high - low < 0.3 and summary["shown"] and not calibration.warnings(summary)
    assert summary["after"]["mae"] < 0.5 * summary["before"]["mae"]
    assert abs(summary["after"]["bias"]) < 0.2 * abs(summary["before"]["bias"])
    assert line.slope == summary["slope"] and json.dumps(summary, allow_nan=False)
    assert calibration.fit(form, 0.8 * truth, truth)[0].slope == pytest.approx(1.25)


def test_leaving_out_does_not_flatter(rng):
    """Errors of pure chance: what is fitted to them lowers the error on themselves, and not that on left-out ones."""
    unshown = 0
    for _ in range(20):
        truth = rng.uniform(20, 200, 8)
        _, summary = calibration.fit("factor", truth + rng.normal(0, 20, 8), truth)
        unshown += not summary["shown"]
    assert unshown >= 15


def test_the_interval_is_the_same_each_time():
    assert calibration.fit("line", [1, 2, 5, 4], [1, 3, 4, 6]) == calibration.fit("line", [1, 2, 5, 4], [1, 3, 4, 6])


def test_images_whose_others_give_nothing_stay_as_they_are():
    _, summary = calibration.fit("factor", [0, 5], [0, 10])
    assert summary["after"] == {"mae": 2.5, "bias": -2.5}


@pytest.mark.parametrize(
    "form, sums, counts, message",
    [
        ("factor", [], [], "A factor needs 2 images or more with known counts, better 10. Received: 0"),
        ("factor", [3], [4], "A factor needs 2 images .* Received: 1"),
        ("line", [3, 4], [4, 5], "A line needs 3 images .* Received: 2"),
        ("factor", [3, 1, 2], [0, 0, 0], "Nobody is in any of the 3 counted images"),
        ("line", [3, 1, 2], [0, 0, 0], "Nobody is in any of the 3 counted images"),
        ("factor", [0, 0], [4, 5], "The counter finds nobody in the 2 counted images, which no factor mends"),
        ("line", [1, 2, 3], [5, 5, 5], "do not grow with the 3 counts, .* or --form=factor"),
        ("line", [1, 2, 3], [6, 5, 4], "do not grow with the 3 counts"),
        ("line", [2, 2, 2], [6, 5, 4], "do not grow with the 3 counts"),
    ],
)
def test_what_gives_no_correction(form, sums, counts, message):
    with pytest.raises(ValueError, match=message):
        calibration.fit(form, sums, counts)


def test_what_is_told():
    _, few = calibration.fit("factor", [2, 8], [4, 8])
    assert calibration.table(few) == (
        "2 counted images\n"
        "  factor      1.200   95 % interval 1.000 to 2.000\n"
        "                MAE     bias\n"
        "  before       1.00    -1.00\n"
        "  after        5.00    +3.00   each image corrected by the others\n"
    )
    first, second = calibration.warnings(few)
    assert first.startswith("2 images are few") and second.startswith("the correction is not shown to help")
    _, line = calibration.fit("line", [1, 2, 4], [3, 5, 9])
    assert "\n  slope       2.000" in calibration.table(line) and "\n  at 0        1.000" in calibration.table(line)
