import numpy as np
import pytest
import tensorflow as tf

from tfcount.ops import divisions


def chosen(scales, height, width, selected=None):
    scales = np.asarray(scales, np.float32)
    selected = np.ones(scales.shape, bool) if selected is None else selected
    return divisions.choose_divisions(tf.constant(selected), tf.constant(scales), height, width)


class TestAveraging:
    @pytest.mark.parametrize("length, bins", [(12, 4), (7, 3), (3, 5), (1, 16), (100, 16)])
    def test_bins_are_means_of_their_cells(self, length, bins, rng):
        values = rng.normal(size=length)
        matrix = np.asarray(divisions.averaging_matrix(length, bins))
        for index in range(bins):
            cells = values[index * length // bins : -(-(index + 1) * length // bins)]
            assert matrix[index] @ values == pytest.approx(cells.mean(), rel=1e-4, abs=1e-6)


class TestInterpolation:
    def test_between_centers_and_beyond_the_border(self):
        """Cells 10, 20, 40 have their centers at 0.5, 1.5, 2.5."""
        matrix = divisions.interpolation_matrix(tf.constant([0.0, 0.5, 1.0, 1.75, 2.5, 9.0]), 3)
        np.testing.assert_allclose(np.asarray(matrix) @ [10, 20, 40], [10, 10, 15, 25, 40, 40])


class TestOverlap:
    def test_cells_share_out(self):
        """A source cell from 0 to 1.5 lies by two thirds in the cell from 0 to 1."""
        matrix = divisions.overlap_matrix(tf.constant([0.0, 1.0, 3.0]), tf.constant([0.0, 1.5, 2.0]))
        np.testing.assert_allclose(matrix, [[2 / 3, 0], [1 / 3, 1]], rtol=1e-6)


class TestDivisionSums:
    def test_every_cell_once(self, rng):
        maps = rng.uniform(size=(2, 14, 10, 1)).astype("float32")
        sums, cells = divisions.division_sums(maps, 3, multiple=2)
        # 7 and 5 pairs of cells in three divisions: 2, 2, 3 and 1, 2, 2.
        np.testing.assert_array_equal(cells, np.outer([4, 4, 6], [2, 4, 4]))
        np.testing.assert_allclose(np.asarray(sums)[:, 1, 2], maps[:, 4:8, 6:10, 0].sum((1, 2)), rtol=1e-5)
        np.testing.assert_allclose(np.sum(sums, (1, 2)), maps.sum((1, 2, 3)), rtol=1e-5)

    def test_more_divisions_than_cells(self):
        sums, cells = divisions.division_sums(np.ones((1, 2, 3, 1), "float32"), 4)
        assert np.sum(cells) == np.sum(sums) == 6


class TestScaling:
    def test_factor_of_one_reads_exactly_its_cells(self, rng):
        maps = rng.normal(size=(2, 13, 9, 3)).astype("float32")
        picked = chosen(np.ones((2, 4, 4)), 13, 9)
        rows, columns = divisions.division_edges(13, 4).numpy(), divisions.division_edges(9, 4).numpy()
        read = np.asarray(divisions.read_scaled(maps, picked, 0)) * np.asarray(divisions.inside_scaled(picked))
        assert len(read) == 32
        for index in range(32):
            image, row, column = index // 16, index // 4 % 4, index % 4
            expected = maps[image, rows[row] : rows[row + 1], columns[column] : columns[column + 1]]
            np.testing.assert_allclose(read[index, : expected.shape[0], : expected.shape[1]], expected, rtol=1e-5)
            assert not read[index, expected.shape[0] :].any() and not read[index, :, expected.shape[1] :].any()

    def test_margin_shows_the_surroundings_and_repeats_the_border(self, rng):
        maps = rng.normal(size=(1, 8, 8, 1)).astype("float32")
        read = np.asarray(divisions.read_scaled(maps, chosen(np.ones((1, 2, 2)), 8, 8), 2))
        padded = np.pad(maps[0, ..., 0], 2, mode="edge")
        np.testing.assert_allclose(read[0, ..., 0], padded[:8, :8], rtol=1e-5)
        np.testing.assert_allclose(read[3, ..., 0], padded[4:, 4:], rtol=1e-5)

    def test_twice_as_large_is_bilinear(self, rng):
        maps = rng.normal(size=(1, 6, 6, 2)).astype("float32")
        read = divisions.read_scaled(maps, chosen(np.full((1, 1, 1), 2.0), 6, 6), 0)
        np.testing.assert_allclose(read, tf.image.resize(maps, (12, 12)), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("factor", [0.5, 0.77, 1.0, 1.31, 2.0, 3.0])
    @pytest.mark.parametrize("height, width", [(13, 17), (31, 5), (8, 8)])
    def test_returned_maps_have_the_same_sum(self, factor, height, width, rng):
        picked = chosen(rng.uniform(0.9, 1.1, (2, 3, 3)) * factor, height, width)
        scaled = rng.uniform(size=(18, *divisions.inside_scaled(picked).shape[1:3], 1)).astype("float32")
        scaled *= divisions.inside_scaled(picked).numpy()
        returned = np.asarray(divisions.put_back(np.zeros((2, 2 * height, 2 * width, 1), "float32"), scaled, picked, 2))
        sums, _ = divisions.division_sums(returned, 3, 2)
        np.testing.assert_allclose(np.ravel(sums), scaled.sum((1, 2, 3)), rtol=1e-4)

    @pytest.mark.parametrize("factor", [0.5, 1.31, 3.0])
    def test_enlarged_targets_have_the_same_sum_and_come_back(self, factor, rng):
        density = rng.uniform(size=(2, 26, 34, 1)).astype("float32")
        picked = chosen(np.full((2, 3, 3), factor), 13, 17)
        scaled = divisions.share_out(density, picked, 2)
        sums, _ = divisions.division_sums(density, 3, 2)
        np.testing.assert_allclose(np.sum(scaled, (1, 2, 3)), np.ravel(sums), rtol=1e-4)
        returned = divisions.put_back(0 * density, scaled, picked, 2)
        np.testing.assert_allclose(divisions.division_sums(returned, 3, 2)[0], sums, rtol=1e-4)

    def test_only_chosen_divisions_are_replaced(self, rng):
        density = rng.uniform(size=(2, 8, 8, 1)).astype("float32")
        selected = np.zeros((2, 2, 2), bool)
        selected[1, 0, 1] = True
        picked = chosen(np.ones((2, 2, 2)), 4, 4, selected)
        result = np.asarray(divisions.put_back(density, np.full((1, 2, 2, 1), 4.0, "float32"), picked, 2))
        expected = density.copy()
        expected[1, :4, 4:] = 1.0
        np.testing.assert_allclose(result, expected, rtol=1e-5)

    @pytest.mark.parametrize("height, width", [(8, 8), (1, 1), (2, 9)])
    def test_none_chosen(self, height, width, rng):
        density = rng.uniform(size=(1, 2 * height, 2 * width, 1)).astype("float32")
        picked = chosen(np.ones((1, 4, 4)), height, width, np.zeros((1, 4, 4), bool))
        read = divisions.read_scaled(np.ones((1, height, width, 3), "float32"), picked, 2)
        assert read.shape[0] == 0
        np.testing.assert_allclose(divisions.put_back(density, read[:, 2:-2, 2:-2, :1], picked, 2), density, rtol=1e-6)

    def test_gradient_to_the_factor_through_the_positions(self, rng):
        """Against finite differences, with the number of cells as it is: rounding has no gradient."""
        # A smooth map: the weights of bilinear interpolation have corners.
        maps = np.sin(np.linspace(0, 3, 40, dtype="float32"))[None, :, None, None] * np.ones((1, 1, 8, 1), "float32")

        def total(factor):
            picked = chosen(np.ones((1, 2, 2)), 40, 8)
            scale = tf.ones_like(picked.scale_y) * factor
            picked = picked._replace(scale_y=scale, height=tf.constant([20] * 4))
            return tf.reduce_sum(tf.square(divisions.read_scaled(maps, picked, 1)))

        for value in (1.1, 1.73):
            factor = tf.constant(value)
            with tf.GradientTape() as tape:
                tape.watch(factor)
                result = total(factor)
            numeric = (float(total(value + 1e-2)) - float(total(value - 1e-2))) / 2e-2
            assert float(tape.gradient(result, factor)) == pytest.approx(numeric, rel=0.05)

    def test_factor_passes_its_gradient_through_rounded_sizes(self):
        factors = tf.constant([[[1.3]]])
        with tf.GradientTape() as tape:
            tape.watch(factors)
            picked = divisions.choose_divisions(tf.constant([[[True]]]), factors, 7, 7)
            scale = tf.reduce_sum(picked.scale_y)
        assert int(picked.height[0]) == 9 and float(scale) == pytest.approx(9 / 7)
        assert float(tape.gradient(scale, factors)[0, 0, 0]) == 1
