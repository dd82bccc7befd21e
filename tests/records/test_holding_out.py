"""Which images are held out by which rule."""

import pytest

from tfcount.data.config import DataConfig
from tfcount.records import holding_out
from tfcount.records.folder import Records

FRAMES = [f"frame_{index}" for index in range(12)]
CAMERAS = [f"cam{camera}_{index:02d}" for camera, images in ((1, 10), (2, 6), (3, 4)) for index in range(images)]


def no_attributes():
    raise AssertionError("nobody asked for attributes")


def choose(ids, number, rule, seed=0):
    return holding_out.choose(ids, number, seed, rule, no_attributes)


def test_images_at_random_are_those_of_before():
    """Kept runs are made again only with the images that they held out: these must not change."""
    assert choose(FRAMES, 3, "") == {"frame_10", "frame_5", "frame_7"}
    assert choose(FRAMES[::-1], 3, "", seed=1) == {"frame_2", "frame_6", "frame_9"}


def test_the_last_ones_in_the_order_in_which_people_count():
    assert choose(FRAMES, 3, "order") == {"frame_9", "frame_10", "frame_11"}
    assert choose(FRAMES[::-1], 3, "order", seed=7) == {"frame_9", "frame_10", "frame_11"}
    ids = ["b2", "a10", "a9", "A9", "a009", "2", "10", "", "a9b", "a9b1"]
    assert sorted(ids, key=holding_out.natural_order) == ["", "2", "10", "A9", "a009", "a9", "a9b", "a9b1", "a10", "b2"]


def test_whole_groups_that_fit():
    rule = r"name:(cam\d+)_"
    groups = {
        name: {identity for identity in CAMERAS if identity.startswith(name)} for name in ("cam1", "cam2", "cam3")
    }
    for seed in range(9):
        assert choose(CAMERAS, 4, rule, seed) == groups["cam3"]
        # None fits: the smallest.
        assert choose(CAMERAS, 2, rule, seed) == groups["cam3"]
        assert choose(CAMERAS, 10, rule, seed) in (groups["cam1"], groups["cam2"] | groups["cam3"])
    assert len({frozenset(choose(CAMERAS, 10, rule, seed)) for seed in range(9)}) == 2
    assert choose(CAMERAS, 10, rule, 3) == choose(CAMERAS[::-1], 10, rule, 3)
    assert choose(CAMERAS, 0, rule) == set()


def test_groups_by_attribute():
    days = {identity: {"day": 1 + index // 6, "scene": {"a": 1}} for index, identity in enumerate(FRAMES)}
    chosen = holding_out.choose(FRAMES, 6, 0, "attribute:day", lambda: days)
    assert chosen in (set(FRAMES[:6]), set(FRAMES[6:]))
    with pytest.raises(ValueError, match=r"attribute:scene: all 12 images are of one group, '{\"a\": 1}'"):
        holding_out.choose(FRAMES, 6, 0, "attribute:scene", lambda: days)
    del days["frame_3"]["day"]
    message = r"attribute:day: 1 of 12 images have no attribute 'day', such as 'frame_3'. .*records: day, scene"
    with pytest.raises(ValueError, match=message):
        holding_out.choose(FRAMES, 6, 0, "attribute:day", lambda: days)


@pytest.mark.parametrize(
    "rule, message",
    [
        (r"name:(cam\d+)_", r"the pattern does not match 12 of 12 images, such as 'frame_0'"),
        (r"name:frame_(1\d)?", r"the pattern does not match 10 of 12 images, such as 'frame_0'"),
        (r"name:(frame)_", r"all 12 images are of one group, 'frame'"),
    ],
)
def test_patterns_that_do_not_fit_the_images(rule, message):
    with pytest.raises(ValueError, match=message):
        choose(FRAMES, 3, rule)


@pytest.mark.parametrize(
    "rule, message",
    [
        ("orders", r"must be empty, order, name:PATTERN or attribute:NAME. Received: 'orders'"),
        ("attribute:", r"must be empty, order"),
        ("name:(", r"the pattern is no regular expression"),
        ("name:", r"needs parentheses around what tells cameras"),
        ("name:(?:cam)", r"needs parentheses"),
    ],
)
def test_wrong_rules_are_refused_with_the_config(rule, message):
    with pytest.raises(ValueError, match=message) as caught:
        DataConfig(validation_by=rule)
    assert "--data_validation_by" in str(caught.value)


def test_a_rule_needs_images_to_hold_out():
    with pytest.raises(ValueError, match="--data_validation_by=order needs --data_validation_fraction above 0"):
        DataConfig(validation_by="order", validation_fraction=0)


def test_records(crowds):
    """Rendered crowds say of every image that it is one."""
    records = Records.open(crowds, "train")
    kept, held_out = records.hold_out(0.25, 0, "order")
    assert [row.id for row in held_out.rows] == [f"train_{index:05d}" for index in (9, 10, 11)]
    assert len(kept.rows) == 9 and not kept.complete
    with pytest.raises(ValueError, match="attribute:synthetic: all 12 images are of one group, 'true'"):
        records.hold_out(0.25, 0, "attribute:synthetic")
    with pytest.raises(ValueError, match="12 of 12 images have no attribute 'day', .* of these records: synthetic"):
        records.hold_out(0.25, 0, "attribute:day")
