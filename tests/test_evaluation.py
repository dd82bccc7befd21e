import json

import numpy as np
import pytest
import tensorflow as tf

from tfcount import evaluate, evaluation


def dataset(examples):
    for index, (image, points, count) in enumerate(examples):
        yield {
            "id": tf.constant(f"image_{index}"),
            "image": tf.constant(image[None]),
            "points": tf.constant(points, tf.float32, shape=(len(points), 2)),
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
    summary = evaluation.summarize(evaluation.evaluate(perfect, 8, dataset(examples)))
    assert summary["images"] == 3
    assert summary["mae"] == pytest.approx(1)
    assert summary["rmse"] == pytest.approx(np.sqrt(5 / 3))
    assert summary["game"][0] == pytest.approx(1)
    assert summary["interval"]["mae"][0] <= 1 <= summary["interval"]["mae"][1]
    assert sum(group["images"] for group in summary["bias_by_count"]) == 3
    assert summary["bias_by_count"][0]["bias"] == pytest.approx(-1 / 3)


def test_images_with_only_a_count_have_no_game():
    summary = evaluation.summarize(evaluation.evaluate(perfect, 8, dataset([(IMAGE, [], 5), (IMAGE, [], np.nan)])))
    assert summary["images"] == 1 and summary["mae"] == 4 and summary["game"] is None


def test_nobody_anywhere():
    results = evaluation.evaluate(perfect, 8, dataset([(IMAGE, [], 0)]))
    summary = evaluation.summarize(results)
    assert summary["mae"] == 1 and summary["nae"] is None and summary["mre"] is None
    json.dumps(summary, allow_nan=False)
    assert "NAE      not defined" in evaluate.table({"dataset": "x", "split": "test", **summary})


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="No image with a known count"):
        evaluation.summarize([])


def test_predictions_are_sorted():
    results = evaluation.evaluate(perfect, 8, dataset([(IMAGE, [[4, 4]], 1)] * 2))
    text = evaluate.predictions_csv(results[::-1])
    assert text == "image_id,ground_truth,predicted\nimage_0,1,1.0000\nimage_1,1,1.0000\n"
