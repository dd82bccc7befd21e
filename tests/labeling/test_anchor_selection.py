import pytest

from tfcount.labeling.anchor_selection import spread


def test_spread():
    values = [5, 1, 9, 1, 7, 3]
    assert spread(values, 2).tolist() == [1, 2]
    assert spread(values, 3).tolist() == [1, 5, 2]  # the ranks 0, 2.5 (rounded to 2) and 5
    assert sorted(spread(values, 6).tolist()) == list(range(6))


@pytest.mark.parametrize("number", [1, 7])
def test_spread_over_too_few(number):
    with pytest.raises(
        ValueError, match=f"number of anchors must be from 2 to the number of images, 6. Received: {number}"
    ):
        spread([5, 1, 9, 1, 7, 3], number)
