import numpy as np
import pytest
import tensorflow as tf

from tfcount.ops import peaks
from tfcount.ops.density import density_map


def find(density, stride=8, threshold=0.05, max_points=1000):
    """Returns the points `(n, 2)` and scores `(n,)` of one map `(h, w)`."""
    found = peaks.local_maxima(tf.constant(density, tf.float32)[None, ..., None], stride, threshold, max_points)
    assert np.all(found.point_mask == 1)
    return found.points.numpy()[0], found.scores.numpy()[0]


def cells(density, **options):
    """Returns the peaks of one map as a set of (row, column)."""
    points, _ = find(density, **options)
    # A point may lie on the edge of its cell, midway between two equal ones: of these the first is meant.
    return {(int(np.ceil(y / 8)) - 1, int(np.ceil(x / 8)) - 1) for x, y in points}


def exceeds(density, steps):
    """Returns bool `(h, w)`: where the map is at least as high as at each of some steps away."""
    padded = np.pad(density, 1, constant_values=-np.inf)
    height, width = density.shape
    return np.all([density >= padded[1 + i : 1 + i + height, 1 + j : 1 + j + width] for i, j in steps], 0)


SIDES = [(0, 1), (0, -1), (1, 0), (-1, 0)]
CORNERS = [(1, 1), (1, -1), (-1, 1), (-1, -1)]


def maxima_of_enlarged(density, factor, steps):
    """Returns the cells in which a bilinear enlargement has a pixel as high as those around it, and above 0.05."""
    # What is beyond the border counts as empty. An enlargement alone repeats the border instead, and finds maxima along
    # it that a row of pixels farther inside are none.
    framed = np.pad(density, 1)
    size = [factor * side for side in framed.shape]
    enlarged = tf.image.resize(framed[..., None], size, "bilinear").numpy()[..., 0]
    rows, columns = np.nonzero(exceeds(enlarged, steps) & (enlarged > 0.05))
    return {(row // factor - 1, column // factor - 1) for row, column in zip(rows.tolist(), columns.tolist())}


def test_golden():
    """The cell of 0.6 is centered at (12, 12). It exceeds left and right by 0.6 and 0.3: 0.3 / 0.9 / 2 = 1 / 6 of a
    cell to the right, 13.333. It exceeds above and below by 0.4 and 0.6: -0.2 / 1.0 / 2 = 0.1 of a cell up, 11.2."""
    points, scores = find([[0, 0.2, 0], [0, 0.6, 0.3], [0, 0, 0]])
    np.testing.assert_allclose(points, [[12 + 8 / 6, 12 - 0.8]], rtol=1e-6)
    np.testing.assert_allclose(scores, [0.6])


@pytest.mark.parametrize("shape", [(7, 9), (20, 31), (1, 40), (40, 1)])
def test_agrees_with_an_enlarged_map(rng, shape):
    """By an odd factor, centers of cells are centers of pixels, and each of the four pixels beside such a one lies
    between it and a neighboring cell: the pixels that none of these exceed are the peaks, all and no other ones."""
    for _ in range(10):
        density = rng.random(shape, np.float32)
        assert maxima_of_enlarged(density, 9, SIDES) == cells(density)


def test_a_window_on_an_enlarged_map_sees_the_same_the_finer_it_is(rng):
    """3 x 3 pixels, as in the paper, miss dips and rises along a diagonal that are narrower than a pixel."""
    maps = [rng.random((20, 31), np.float32) for _ in range(5)]
    total = sum(len(cells(density)) for density in maps)
    coarse, fine = (
        sum(len(cells(density) ^ maxima_of_enlarged(density, factor, SIDES + CORNERS)) for density in maps)
        for factor in (8, 64)
    )
    assert coarse < 0.12 * total
    assert fine < 0.25 * coarse


def test_a_diagonal_dip_narrower_than_a_pixel():
    """Along the diagonal from 0.1 to 1 the map is 0.1 - 0.2 t + 1.1 t^2, lowest at t = 1 / 11 of a cell. The pixels at
    a factor of 8 are at 1 / 16, 3 / 16 ..., where it is 0.092 and 0.101: it rises. At a factor of 32 they are at
    1 / 64, 3 / 64 ..., where it is 0.0971 and 0.0930: it falls first, and the cell of 0.1 is seen to be a maximum."""
    density = np.array([[0.1, 0], [0, 1]], np.float32)
    assert cells(density) == {(0, 0), (1, 1)}
    assert maxima_of_enlarged(density, 8, SIDES + CORNERS) == {(1, 1)}
    assert maxima_of_enlarged(density, 32, SIDES + CORNERS) == {(0, 0), (1, 1)}


@pytest.mark.parametrize("factor", [0.3, 1.0, 40.0])
@pytest.mark.parametrize("mirrored", [np.fliplr, np.flipud, np.transpose])
def test_mirrored_and_scaled_maps_have_mirrored_peaks(rng, mirrored, factor):
    density = rng.random((6, 10), np.float32)
    points, scores = find(density, threshold=0.1)
    other, other_scores = find(factor * mirrored(density), threshold=0.1 * factor)
    changes = {
        np.fliplr: lambda points: [80, 0] + points * [-1, 1],
        np.flipud: lambda points: [0, 48] + points * [1, -1],
        np.transpose: lambda points: points[:, ::-1],
    }
    np.testing.assert_allclose(other, changes[mirrored](points), atol=1e-3)
    np.testing.assert_allclose(other_scores, factor * scores, rtol=1e-5)


@pytest.mark.parametrize(
    "density, expected",
    [
        ([[0, 1, 1, 0]], [[16, 4]]),
        ([[0, 1, 0], [0, 1, 0], [0, 1, 0]], [[12, 4]]),
        (np.ones((3, 5)), [[4, 4]]),
        ([[1, 1, 2]], [[20, 4]]),
        ([[1, 0, 1], [1, 1, 1]], [[4, 4]]),
        ([[0, 1, 0], [1, 0, 1], [0, 1, 0]], [[12, 4], [4, 12], [20, 12], [12, 20]]),
        ([[1, 0, 1, 2], [1, 1, 1, 0]], [[28, 4]]),
    ],
    ids=["pair", "column", "constant", "step", "u", "corners only", "u beside a higher cell"],
)
def test_equal_cells_are_one_peak_or_none(density, expected):
    """A pair of equal cells from 8 to 24 has its peak between, at 16; longer groups at their first cell. Cells that
    meet at corners alone are apart, and a group that a higher cell touches is none."""
    points, scores = find(density)
    np.testing.assert_allclose(points, expected, rtol=1e-6)
    assert np.all(scores == np.max(density))


def test_a_winding_group_is_one_peak():
    """A path of equal cells that goes to and fro over the map, and the same with a higher cell at its end."""
    density = np.zeros((21, 21))
    density[::2] = 0.5
    density[1::4, -1] = density[3::4, 0] = 0.5
    assert cells(density) == {(0, 0)}
    density[20, 20] = 0.6
    assert cells(density) == {(20, 20)}


def test_few_levels_agree_with_labels(rng):
    """Every group of equal cells that none around it exceeds, by plain search."""
    density = rng.integers(0, 4, (15, 18)).astype(np.float32)
    expected, done = set(), np.zeros(density.shape, bool)
    for start in np.ndindex(*density.shape):
        if done[start] or not density[start]:
            continue
        group, highest = [start], True
        done[start] = True
        for row, column in group:
            for i, j in SIDES:
                other = row + i, column + j
                if not (0 <= other[0] < 15 and 0 <= other[1] < 18):
                    continue
                highest &= bool(density[other] <= density[start])
                if density[other] == density[start] and not done[other]:
                    done[other] = True
                    group.append(other)
        if highest:
            expected.add(start)
    assert cells(density) == expected


@pytest.mark.parametrize("density", [np.zeros((4, 5)), np.full((4, 5), 0.05, np.float32), -np.ones((4, 5))])
def test_nothing_above_the_threshold(density):
    points, scores = find(density, threshold=np.float32(0.05))
    assert points.shape == (0, 2) and scores.shape == (0,)


def test_zero_is_a_legal_threshold_and_no_peak():
    assert cells([[0, 0, 1e-6], [0, 0, 0]], threshold=0) == {(0, 2)}


def test_cells_without_a_value_are_passed_over():
    """Of 0.5 the right neighbor has no value, so that its position along x is the center."""
    density = np.array([[np.nan, 0.1, 0.5, np.nan, 0.3, np.inf, -np.inf]])
    points, scores = find(density)
    np.testing.assert_allclose(points, [[20, 4], [36, 4]])
    np.testing.assert_allclose(scores, [0.5, 0.3])
    assert find(np.full((3, 3), np.nan))[0].shape == (0, 2)


def test_border_cells_count():
    """Each corner is a peak at its center: neither axis has both neighbors."""
    density = np.zeros((3, 4))
    density[[0, 0, -1, -1], [0, -1, 0, -1]] = [4, 3, 2, 1]
    np.testing.assert_allclose(find(density)[0], [[4, 4], [28, 4], [4, 20], [28, 20]])


def test_points_lie_in_their_cell_and_in_the_image(rng):
    density = rng.random((30, 23)) ** 8
    points, scores = find(density, stride=4, threshold=0)
    assert np.all(points >= 0) and np.all(points <= [23 * 4, 30 * 4])
    inner = np.clip((points // 4).astype(int), 0, [22, 29])
    np.testing.assert_array_equal(scores, density[inner[:, 1], inner[:, 0]].astype(np.float32))


@pytest.mark.parametrize("sigma", [4, 6, 10])
def test_a_head_off_the_center_is_found_nearer_than_the_center(rng, sigma):
    """A head anywhere in the 8 x 8 pixels of a cell is 3.06 pixels from the center on average; the parabola through a
    Gaussian of half a cell and more is off by less than half of that."""
    offsets = rng.uniform(-3.9, 3.9, (200, 2)).astype(np.float32)
    heads = offsets + np.array([60, 44], np.float32)
    density = density_map(heads[:, None], np.ones((200, 1)), np.full((200, 1), sigma, np.float32), 12, 16, 8)
    found = peaks.local_maxima(density, 8, 0.0, 1)
    distance = np.linalg.norm(found.points[:, 0] - heads, axis=-1)
    assert distance.max() < 4
    assert distance.mean() < 0.5 * np.linalg.norm(offsets, axis=-1).mean()


def test_sorted_cut_and_padded():
    """Two peaks and one: the second map is padded. Equal scores come in reading order; the lowest are cut."""
    density = tf.constant([[[0.2, 0, 0.4, 0, 0.4]], [[0, 0, 0, 0.3, 0]]])[..., None]
    found = peaks.local_maxima(density, 8, 0.05, 2)
    np.testing.assert_allclose(found.scores, [[0.4, 0.4], [0.3, 0]])
    np.testing.assert_allclose(found.points, [[[20, 4], [36, 4]], [[28, 4], [0, 0]]])
    np.testing.assert_allclose(found.point_mask, [[1, 1], [1, 0]])
    assert peaks.local_maxima(density, 8, 0.05, 3).scores.shape == (2, 3)
    assert peaks.local_maxima(density, 8, 0.35, 3).scores.shape == (2, 2)
    assert all(value.dtype == tf.float32 for value in found)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions(dtype):
    found = peaks.local_maxima(tf.constant([[[[0.0], [0.5], [0.25]]]], dtype), 8, 0.05, 10)
    np.testing.assert_allclose(found.points, [[[12 + 8 * 0.25 / 0.75 / 2, 4]]], rtol=1e-6)
    assert all(value.dtype == tf.float32 for value in found)


def test_maps_of_a_batch_do_not_touch(rng):
    density = rng.integers(0, 5, (4, 9, 7, 1)).astype(np.float32)
    together = peaks.local_maxima(tf.constant(density), 8, 0.05, 50)
    for index in range(4):
        alone = peaks.local_maxima(tf.constant(density[index : index + 1]), 8, 0.05, 50)
        count = alone.scores.shape[1]
        for joint, single in zip(together, alone):
            np.testing.assert_array_equal(joint[index, :count], single[0])
            assert not np.any(joint[index, count:])


def test_graph_equals_eager_for_any_size(rng):
    """One graph, whatever sizes and thresholds come."""
    signature = [tf.TensorSpec([None, None, None, 1]), tf.TensorSpec([])]
    graph = tf.function(lambda density, threshold: peaks.local_maxima(density, 8, threshold, 40), signature)
    for shape, threshold in [((2, 5, 8, 1), 0.1), ((1, 20, 3, 1), 0.5), ((1, 1, 1, 1), 0.0), ((3, 6, 6, 1), 2.0)]:
        density = tf.constant(np.round(rng.random(shape, np.float32), 1))
        static = tf.function(lambda density, value=threshold: peaks.local_maxima(density, 8, value, 40))
        eager = peaks.local_maxima(density, 8, threshold, 40)
        for others in (graph(density, threshold), static(density)):
            for one, other in zip(eager, others):
                assert one.shape == other.shape
                np.testing.assert_allclose(one, other, rtol=1e-6)
    assert graph.experimental_get_tracing_count() == 1


@pytest.mark.parametrize("shape", [(0, 3, 4, 1), (2, 0, 4, 1), (2, 3, 0, 1)])
def test_empty_maps(shape):
    found = peaks.local_maxima(tf.zeros(shape), 8, 0.05, 10)
    assert found.points.shape == (shape[0], 0, 2) and found.scores.shape == (shape[0], 0)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"stride": 0}, "`stride` must be positive. Received: stride=0."),
        ({"threshold": -0.1}, "`threshold` must be at least 0. Received: threshold=-0.1."),
        ({"threshold": float("nan")}, "`threshold` must be at least 0. Received: threshold=nan."),
        ({"max_points": 0}, "`max_points` must be at least 1. Received: max_points=0."),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        find(np.zeros((2, 2)), **options)
