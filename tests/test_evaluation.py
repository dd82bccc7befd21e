import dataclasses
import itertools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tests.records import tiny
from tfcount import comparison, evaluation
from tfcount.drawing.evaluation_table import format_evaluation
from tfcount.inference import Calibration, CountingModel
from tfcount.ops.anchor_line import AnchorLine
from tfcount.records.folder import Records


def dataset(examples, labels=None):
    """Yields examples, of whose heads all have points if that is said or their number is the count."""
    for index, (image, points, count) in enumerate(examples):
        yield {
            "labels": tf.constant(labels or ("points" if len(points) == count else "count")),
            "id": tf.constant(f"image_{index}"),
            "image": tf.constant(image),
            "points": tf.constant(points, tf.float32, shape=(len(points), 2)),
            "boxes": tf.zeros((0, 4)),
            "count": tf.constant(count, tf.float32),
        }


def perfect(images):
    """Says one person in the top left cell."""
    density = np.zeros((1, -(-images.shape[1] // 8), -(-images.shape[2] // 8), 1), np.float32)
    density[0, 0, 0] = 1
    return density


IMAGE = np.zeros((20, 30, 3), np.uint8)


def test_results():
    """Errors 0, 1 (an empty image) and -2 (three people, all in the top left): MAE 1, RMSE sqrt(5 / 3)."""
    examples = [(IMAGE, [[4, 4]], 1), (IMAGE, [], 0), (IMAGE, [[1, 1], [2, 2], [3, 3]], 3)]
    summary = evaluation.summarize(evaluation.evaluate(CountingModel(perfect, 8), dataset(examples)))
    assert summary["images"] == 3
    assert summary["mae"] == pytest.approx(1)
    assert summary["rmse"] == pytest.approx(np.sqrt(5 / 3))
    assert summary["game"][0] == pytest.approx(1)
    assert summary["interval"]["mae"][0] <= 1 <= summary["interval"]["mae"][1]
    assert sum(group["images"] for group in summary["bias_by_count"]) == 3
    assert summary["bias_by_count"][0]["bias"] == pytest.approx(-1 / 3)


def test_images_with_only_a_count_have_no_game():
    summary = evaluation.summarize(
        evaluation.evaluate(CountingModel(perfect, 8), dataset([(IMAGE, [], 5), (IMAGE, [], np.nan)]))
    )
    assert summary["images"] == 1 and summary["mae"] == 4 and summary["game"] is None


def test_heads_that_were_annotated_beyond_the_image_are_counted():
    """Three heads, of which two have points: the count is compared with three, and the places with those of two."""
    examples = dataset([(IMAGE, [[4, 4], [20, 4]], 3), (IMAGE, [[4, 4]], 1)], "points")
    results = evaluation.evaluate(CountingModel(perfect, 8), examples)
    summary = evaluation.summarize(results)
    assert (results[0].ground_truth, summary["mae"]) == (3, 1)
    assert summary["game"] is not None and len(results[0].localization.heads) == 2


def test_images_are_ordered_by_what_the_line_through_the_anchors_cuts_off():
    """Maps with sums 1 and 3, and the line 2 x - 10: both counts are 0, and the order is right all the same."""

    def rising(images):
        return np.float32(images[:, :1, :1, :1])

    examples = [(np.full((8, 8, 3), value, np.uint8), [], 10 * value) for value in (1, 3)]
    line = AnchorLine(slope=2.0, intercept=-10.0, lowest=10, highest=30, images=2)
    results = evaluation.evaluate(CountingModel(rising, 8, Calibration(line, ranks=True)), dataset(examples))
    assert [(result.predicted, result.potential) for result in results] == [(0, 1), (0, 3)]
    summary = evaluation.summarize(results)
    assert summary["ranking_accuracy"] == summary["kendall_tau"] == 1 and summary["mae"] == 20
    assert summary["sparsity"] is None and all(result.localization is None for result in results)
    text = format_evaluation({"dataset": "x", "split": "test", "extrapolated": 2, **summary})
    assert "BEYOND          2   images whose count is beyond" in text and "SPARSITY" not in text


@pytest.mark.parametrize(
    "counts, verdict",
    [
        ([3, 4] * 6, "BIAS        -2.50   95 % interval -2.75 to -2.25, counts too few"),
        ([0] * 12, "BIAS        +1.00   95 % interval +1.00 to +1.00, counts too many"),
        ([0, 2] * 6, "too few or too many: not shown\n"),
        ([4] * 9, "BIAS        -3.00   95 % interval -3.00 to -3.00, too few or too many: not shown by fewer than 10"),
    ],
)
def test_the_bias_is_told_in_words(counts, verdict):
    """Of a counter that says one person in every image."""
    images = dataset([(IMAGE, [], count) for count in counts])
    summary = evaluation.summarize(evaluation.evaluate(CountingModel(perfect, 8), images))
    assert summary["bias"] == pytest.approx(1 - np.mean(counts))
    assert verdict in format_evaluation({"dataset": "x", "split": "test", **summary})


def test_nobody_anywhere():
    results = evaluation.evaluate(CountingModel(perfect, 8), dataset([(IMAGE, [], 0)]))
    summary = evaluation.summarize(results)
    assert summary["mae"] == 1 and summary["nae"] is None and summary["mre"] is None
    json.dumps(summary, allow_nan=False)
    assert "NAE      not defined" in format_evaluation({"dataset": "x", "split": "test", **summary})


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="No image with a known count"):
        evaluation.summarize([])


def test_predictions_are_sorted():
    results = evaluation.evaluate(CountingModel(perfect, 8), dataset([(IMAGE, [[4, 4]], 1)] * 2))
    text = comparison.predictions_csv(results[::-1])
    assert text == "image_id,ground_truth,predicted\nimage_0,1,1.0000\nimage_1,1,1.0000\n"


class TestLocalization:
    """A map with peaks of 1, 0.5 and 0.2 at the centers (12, 12), (44, 12) and (12, 44) of cells."""

    PEAKS = (((12, 12), 1.0), ((44, 12), 0.5), ((12, 44), 0.2))

    def density(self, images):
        density = np.zeros((1, 8, 8, 1), np.float32)
        for (x, y), value in self.PEAKS:
            density[0, y // 8, x // 8] = value
        return density

    def results(self, heads, boxes=()):
        image = np.zeros((64, 60, 3), np.uint8)
        one = next(iter(dataset([(image, heads, len(heads))])))
        one["boxes"] = tf.constant(boxes, tf.float32, shape=(len(boxes), 4))
        return evaluation.evaluate(CountingModel(self.density, 8), [one])

    def test_by_hand(self):
        """Heads 3 and 6 pixels from the first two peaks, and one that is missed; the third peak is nobody.

        At 4 pixels one of three is found, at 8 two; of the predictions above 0.1 it is one and two of three. Over 1 to
        100 pixels the first is found from 3 on, the second from 6 on; from 60 on, the missed head at (60, 60) is
        paired with the third peak, 50.6 pixels away, or any other: from 51 on.
        """
        results = self.results([[12, 15], [50, 12], [60, 60]])
        found = results[0].localization
        np.testing.assert_allclose(found.points, [point for point, _ in self.PEAKS])
        np.testing.assert_allclose(found.scores, [1, 0.5, 0.2])
        summary = evaluation.summarize_localization(results, threshold=0.1)
        third, two_thirds = pytest.approx(1 / 3), pytest.approx(2 / 3)
        assert summary["sigma_4"] == {"precision": third, "recall": third, "f1": third}
        assert summary["sigma_8"] == {"precision": two_thirds, "recall": two_thirds, "f1": two_thirds}
        assert summary["nwpu_small"] is None and summary["images"] == 1 and summary["threshold"] == 0.1
        # Sigma 3 to 5: one; 6 to 49: two; from 50 = |(60, 60) - (44, 12)| rounded down, 50.6, so from 51: three.
        assert summary["ucf_qnrf"]["recall"] == pytest.approx((3 * 1 + 45 * 2 + 50 * 3) / 300)

    def test_a_reduced_image_is_measured_as_it_was_before(self):
        """Halved: the peak (12, 12) lies at (24, 24), one pixel from a head, not 1 / 2."""
        image = np.zeros((128, 120, 3), np.uint8)
        one = next(iter(dataset([(image, [[25, 24]], 1)])))
        one |= {"boxes": tf.constant([[23.0, 30, 27, 50]])}
        model = CountingModel(self.density, 8, Calibration(limits=(64, 0)))
        (result,) = evaluation.evaluate(model, [one])
        found = result.localization
        np.testing.assert_allclose(found.points[0], [24, 24], rtol=1e-6)
        np.testing.assert_allclose(found.heads, [[25, 24]], rtol=1e-6)
        np.testing.assert_array_equal(found.boxes, [[23, 30, 27, 50]])
        assert (result.height, result.width) == (64, 60)

    def test_the_threshold_is_that_of_the_largest_f1(self):
        """With the first peak: F1 = 2 / (1 + 2); with two: 4 / (2 + 2) = 1; with three: 4 / 5. Between 0.5 and 0.2."""
        threshold, f1 = evaluation.choose_threshold(self.results([[12, 15], [50, 12]]))
        assert threshold == pytest.approx(0.35) and f1 == pytest.approx(1)
        assert evaluation.choose_threshold(self.results([])) is None

    def test_radii_of_boxes(self):
        """Boxes of 10 x 20 pixels: radii int(5) and int(sqrt(500) / 2) = 11; a head 6 pixels away."""
        results = self.results([[12, 18]], [[7, 8, 17, 28]])
        summary = evaluation.summarize_localization(results, threshold=0.6)
        assert summary["nwpu_small"]["f1"] == 0 and summary["nwpu_large"]["f1"] == 1

    def test_what_lies_beyond_the_image_is_pulled_in(self):
        """The last cells reach from 56 to 64, the image ends at 60."""

        def last(images):
            density = np.zeros((1, 8, 8, 1), np.float32)
            density[0, 0, 7] = 1
            return density

        points, _ = CountingModel(last, 8).locate(np.zeros((64, 58, 3), np.uint8))
        assert points[0, 0] == 58

    def test_needs_points(self):
        results = evaluation.evaluate(
            CountingModel(self.density, 8), dataset([(np.zeros((64, 60, 3), np.uint8), [], 5)])
        )
        with pytest.raises(ValueError, match="--localization needs images with points, and none has them"):
            evaluation.summarize_localization(results, 0.05)

    def test_the_table_tells(self):
        results = self.results([[12, 15], [50, 12], [60, 60]])
        summary = {"dataset": "x", "split": "test", **evaluation.summarize(results)}
        summary["localization"] = evaluation.summarize_localization(results, threshold=0.1)
        text = format_evaluation(summary)
        assert "heads at 8 pixels at most      0.667     0.667     0.667" in text
        assert "peaks above 0.1 people a cell, 1 images" in text and "NWPU" not in text
        json.dumps(summary, allow_nan=False)


def test_sparsity():
    """All cells of the one map but one of 12 are empty."""
    summary = evaluation.summarize(evaluation.evaluate(CountingModel(perfect, 8), dataset([(IMAGE, [[4, 4]], 1)])))
    assert summary["sparsity"] == pytest.approx(11 / 12)


def test_evaluate_needs_labels(crowds):
    model, records = CountingModel(perfect, 8), Records.open(crowds, "test")
    evaluation.evaluate_split(model, records, localization=True)
    counted = dataclasses.replace(records, rows=tuple(row._replace(labels="count") for row in records.rows))
    evaluation.evaluate_split(model, counted, localization=False)
    with pytest.raises(ValueError, match="--localization needs images with points, and no image of split 'test' in"):
        evaluation.evaluate_split(model, counted, localization=True)
    unknown = [row._replace(labels="none", count=float("nan")) for row in records.rows]
    with pytest.raises(ValueError, match="No image of split 'test' in .* has a known count. Give another --split"):
        evaluation.evaluate_split(model, dataclasses.replace(records, rows=tuple(unknown)), localization=False)


class TestQuantiles:
    """Groups of the true counts tell of one camera, too, whose counts all lie between two fixed limits."""

    def groups(self, truth, predicted):
        results = [
            evaluation.ImageResult(f"{index:03}", *counts, counts[1], False, 8, 8, None, None, None)
            for index, counts in enumerate(zip(map(float, truth), map(float, predicted), strict=True))
        ]
        summary = evaluation.summarize(results)
        json.dumps(summary, allow_nan=False)
        assert sum(group["images"] for group in summary["bias_by_quantile"]) == len(results)
        return summary["bias_by_quantile"]

    def test_one_camera(self, rng):
        truth = rng.permutation(np.repeat(np.arange(20, 45), 2))
        groups = self.groups(truth, truth + (truth >= 35))
        assert [(group["from"], group["to"]) for group in groups] == [(20, 24), (25, 29), (30, 34), (35, 39), (40, 44)]
        assert [group["images"] for group in groups] == [10] * 5
        assert [group["bias"] for group in groups] == [0, 0, 0, 1, 1] == [group["mae"] for group in groups]

    @pytest.mark.parametrize(
        "truth, number", [([3], 1), ([0] * 40, 1), (range(9), 1), (range(10), 2), ([0] * 30 + [9] * 2, 1)]
    )
    def test_few_images_and_equal_counts(self, truth, number):
        """A group has at least five images, unless equal counts must stay together; none is empty."""
        groups = self.groups(truth, truth)
        assert len(groups) == number
        assert all(one["to"] < other["from"] for one, other in itertools.pairwise(groups))


def test_pictures_of_ones_own_have_the_name_of_their_folder(crowds, tmp_path):
    """What the manifest calls them says how they were annotated, and is the same for all."""
    records = {"crowds": crowds, "platform_3": shutil.copytree(crowds, tmp_path / "platform_3")}
    tiny.forget_checksums(records["platform_3"])
    manifest = records["platform_3"] / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "dataset": "folder"}))
    model = CountingModel(perfect, 8)
    for folder, name in ((records["crowds"], "synthetic"), (str(records["platform_3"]) + "/", "platform_3")):
        assert evaluation.evaluate_split(model, Records.open(folder, "test"), False)[1]["dataset"] == name


def test_the_largest_errors_are_shown_as_the_counter_sees_them(crowds):
    """Images of 128 x 96 are reduced to half of it, and the heads with them."""
    model, records = CountingModel(perfect, 8, Calibration(limits=(64, 0))), Records.open(crowds, "test")
    results, _ = evaluation.evaluate_split(model, records, False)
    found = evaluation.largest_errors(model, results, records)
    errors = [abs(one.result.predicted - one.result.ground_truth) for one in found]
    assert errors == sorted(errors, reverse=True) and len(found) == 4
    for one in found:
        assert one.image.shape == (48, 64, 3) and one.density.shape == (6, 8) and not one.ranks
        assert len(one.heads) == one.result.ground_truth and (one.heads <= (64, 48)).all()
    assert any(one.heads.max() > 32 for one in found)


def test_training_images_that_nobody_counted(crowds, monkeypatch):
    """There is no mean count to answer, and no number in its place: JSON has no NaN."""
    unknown = [row._replace(count=float("nan")) for row in Records.open(crowds, "train").rows]
    model, records = CountingModel(perfect, 8), Records.open(crowds, "test")
    assert evaluation.evaluate_split(model, records, False)[1]["mean_count_mae"] > 0
    monkeypatch.setattr(evaluation, "read_index", lambda folder, split: unknown)
    _, summary = evaluation.evaluate_split(model, records, False)
    assert "mean_count_mae" not in summary
    json.dumps(summary, allow_nan=False)
