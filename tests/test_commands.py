"""The commands, run as a user runs them, on a tiny run."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tests.records.tiny import without_counts
from tests.running import run_training
from tfcount import distribution, runs
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.inference import Calibration, CountingModel
from tfcount.models import build_counter
from tfcount.ops.anchor_line import AnchorLine
from tfcount.records import images
from tfcount.serving import savedmodel as savedmodels

ROOT = pathlib.Path(__file__).parent.parent
# Not the one that counters have where nothing was held out.
THRESHOLD = 0.02


def command(module, *arguments, code=0):
    result = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


@pytest.fixture(scope="module")
def run(crowds, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("runs") / "run")
    data = DataConfig(dir=crowds, crop=64, validation_fraction=0.25)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "strategy", tf.distribute.get_strategy)
        run_training(
            ExperimentConfig(counter="mcnn", data=data, train=TrainConfig(steps=2, batch_size=4, learning_rate=1e-4)),
            folder,
        )
    # The best weights have a threshold of their own.
    best = runs.Run(folder).calibration(runs.BEST)
    dataclasses.replace(best, threshold=THRESHOLD).write(os.path.join(folder, "best.calibration.json"))
    return folder


@pytest.fixture(scope="module")
def savedmodel(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("savedmodels") / "crowds"
    result = command("tfcount.export", f"--model_dir={run}", f"--output={folder}")
    expected = f"Written: {folder}/1 (signatures `serving_default`, `density`), of {run}/best.weights.h5\n"
    assert result.stdout == expected
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for name, shape in (("a.jpg", (40, 60, 3)), ("b.png", (33, 21, 3)), ("grey.PNG", (16, 16))):
        cv2.imwrite(str(folder / name), generator.integers(0, 256, shape, dtype=np.uint8))
    return folder


def test_evaluate(run, crowds, tmp_path):
    result = command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}")
    assert "MAE" in result.stdout and "GAME" in result.stdout
    summary = json.loads((tmp_path / "evaluation.json").read_text())
    assert summary["images"] == 4 and summary["split"] == "test" and summary["run"]["steps"] == 2
    assert (tmp_path / "predictions.csv").read_text().splitlines()[0] == "image_id,ground_truth,predicted"
    assert cv2.imread(str(tmp_path / "evaluation.png")) is not None
    lines = (tmp_path / "predictions.csv").read_text().splitlines()[1:]
    errors = [abs(float(line.split(",")[2]) - float(line.split(",")[1])) for line in lines]
    assert summary["mae"] == pytest.approx(np.mean(errors), abs=1e-3)


def test_evaluate_localization(run, tmp_path):
    result = command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}", "--localization")
    assert "heads at 4 pixels at most" in result.stdout and "UCF-QNRF, 1 to 100 pixels" in result.stdout
    localization = json.loads((tmp_path / "evaluation.json").read_text())["localization"]
    assert localization["images"] == 4 and localization["threshold"] == THRESHOLD


def test_a_damaged_record(run, crowds, tmp_path):
    folder = tmp_path / "records"
    shutil.copytree(crowds, folder)
    shard = next(folder.glob("test-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 255
    shard.write_bytes(content)
    result = command("tfcount.evaluate", f"--model_dir={run}", f"--data_dir={folder}", code=1)
    assert f"Error: {shard} is damaged: " in result.stderr and "tfrecords_tools.show" in result.stderr


def test_predict(savedmodel, pictures, tmp_path):
    result = command("tfcount.predict", f"--savedmodel={savedmodel}", f"--output={tmp_path}", pictures)
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert [os.path.basename(path) for path in counts] == ["a.jpg", "b.png", "grey.PNG"]
    people = json.loads((tmp_path / "points.json").read_text())
    assert people.keys() == counts.keys()
    for path, found in people.items():
        points, scores = tfcount.load(savedmodel).locate(path)
        np.testing.assert_allclose(np.reshape(found, (-1, 3)), np.column_stack([points, scores]), atol=2e-3)
    # One column of names, as wide as the longest.
    assert len({len(line) for line in result.stdout.splitlines()[:4]}) == 1
    too_near = any(len(people[path]) < round(count) for path, count in counts.items())
    assert too_near == ("nearer to each other than two cells are counted, but not found one" in result.stdout)
    assert "3 images" in result.stdout and f"{counts[str(pictures / 'b.png')]:.1f}" in result.stdout
    for name in ("a.jpg", "b.png", "grey.PNG"):
        assert cv2.imread(str(tmp_path / f"{name}_overlay.jpg")) is not None


def test_predict_writes_where_no_pictures_are(pictures, tmp_path):
    arguments = ["--savedmodel=no/such", pictures]
    result = command("tfcount.predict", f"--output={pictures}", *arguments, code=1)
    assert f"Error: --output={pictures} holds the pictures" in result.stderr
    (tmp_path / "file").touch()
    result = command("tfcount.predict", f"--output={tmp_path / 'file'}", *arguments, code=1)
    assert "file is a file. Give a folder." in result.stderr


def test_predict_passes_over_what_is_no_image(savedmodel, pictures, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "empty.jpg").touch()
    files = (pictures / "a.jpg", tmp_path / "broken.jpg", tmp_path / "empty.jpg")
    result = command("tfcount.predict", f"--savedmodel={savedmodel}", *files, code=1)
    assert "a.jpg" in result.stdout
    assert f"Error: {tmp_path}/broken.jpg cannot be read as an image" in result.stderr
    assert f"Error: {tmp_path}/empty.jpg cannot be read as an image" in result.stderr


def test_load_counts_alike_from_run_and_savedmodel(run, savedmodel, pictures):
    path = pictures / "a.jpg"
    count = tfcount.load(run).count(path)
    assert tfcount.load(savedmodel).count(str(path)) == pytest.approx(count, rel=1e-4)
    assert tfcount.load(savedmodel / "1").count(path) == pytest.approx(count, rel=1e-4)
    assert tfcount.load(run).calibration.threshold == THRESHOLD
    assert tfcount.load(savedmodel).calibration.threshold == pytest.approx(THRESHOLD)
    density = tfcount.load(savedmodel).density(images.read_pixels(path))
    assert density.shape == (10, 15) and density.sum() == pytest.approx(count, rel=1e-4)


def test_savedmodel_without_tfcount(run, savedmodel, pictures):
    """In a process in which tfcount cannot be imported, images of any size in one batch."""
    program = """
import sys
sys.modules["tfcount"] = None
import json
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
encoded = tf.constant([open(path, "rb").read() for path in sys.argv[2:]])
print(json.dumps(model.signatures["serving_default"](image_bytes=encoded)["count"].numpy().tolist()))
"""
    files = [str(pictures / name) for name in ("a.jpg", "b.png", "grey.PNG")]
    result = subprocess.run(
        [sys.executable, "-c", program, str(savedmodel / "1"), *files], capture_output=True, text=True, check=True
    )
    counter = tfcount.load(run)
    np.testing.assert_allclose(json.loads(result.stdout), [counter.count(path) for path in files], rtol=1e-4)


@pytest.mark.parametrize("name", ["l2sm", "mcnn", "resnet50", "vgg19"])
def test_exported_counter_equals_the_counter_and_traces_once(name, tmp_path, rng):
    options = {"l2sm": {"encoder_name": "compact"}, "mcnn": {}}.get(name, {"encoder_weights": "none"})
    counter = build_counter(name, **options)
    if name == "l2sm":
        counter.head.set_groups(np.linspace(0, 0.1, 10))
    calibrated = Calibration(AnchorLine(slope=1.5, images=10), threshold=0.02)
    assert savedmodels.export(counter, str(tmp_path), calibrated) == str(tmp_path / "1")
    assert Calibration.read(str(tmp_path / "1" / savedmodels.CALIBRATION), "") == calibrated
    loaded = tf.saved_model.load(str(tmp_path / "1"))
    for size in ((32, 32), (40, 51)):
        images = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        result = loaded.signatures["density"](image=tf.constant(images))
        np.testing.assert_allclose(result["density"], counter(images), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(result["count"], 1.5 * np.sum(result["density"], (1, 2, 3)), rtol=1e-4)
        assert not result["extrapolated"].numpy().any()
        calibration = Calibration(threshold=0.02)
        found = [
            CountingModel(lambda _, one=one: one[None], counter.stride, calibration).locate(image)
            for one, image in zip(result["density"].numpy(), images, strict=True)
        ]
        assert result["point_mask"].numpy().sum(1).tolist() == [len(scores) for _, scores in found]
        for index, (points, scores) in enumerate(found):
            np.testing.assert_allclose(result["points"][index, : len(points)], points, atol=1e-3)
            np.testing.assert_array_equal(result["scores"][index, : len(points)], scores)


def test_images_are_reduced_as_in_training(tmp_path, rng):
    """A counter that learned from reduced images gets such: in SavedModels and from Python; points are put back."""
    counter = build_counter("mcnn")
    savedmodels.export(counter, str(tmp_path / "plain"), Calibration(threshold=0.0))
    savedmodels.export(counter, str(tmp_path / "reduced"), Calibration(threshold=0.0, limits=(64, 40)))
    plain, loaded = (tfcount.load(tmp_path / name) for name in ("plain", "reduced"))
    image = cv2.resize(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), (128, 96))
    small = loaded.reduce(image)
    assert (
        loaded.calibration.limits == (64, 40)
        and small.shape == (40, 53, 3)
        and plain.reduce(image).shape == (96, 128, 3)
    )
    np.testing.assert_array_equal(loaded.reduce(small), small)
    assert loaded.density(image).shape == (10, 14)
    expected = plain.count(small)
    assert loaded.count(image) == pytest.approx(expected, rel=1e-4)
    module = tf.saved_model.load(str(tmp_path / "reduced" / "1"))
    served = module.density(tf.constant(image[None]))
    assert float(served["count"][0]) == pytest.approx(expected, rel=1e-4)
    assert float(module.count(tf.io.encode_png(image)[None])["count"][0]) == pytest.approx(expected, rel=1e-4)
    points, scores = loaded.locate(image)
    in_small, small_scores = plain.locate(small)
    assert len(points) > 2
    np.testing.assert_allclose(points, in_small * [128 / 53, 96 / 40], rtol=1e-5)
    np.testing.assert_allclose(scores, small_scores, rtol=1e-4)
    np.testing.assert_allclose(served["points"][0], points, atol=1e-2)


def test_export_adds_versions(tmp_path):
    counter = build_counter("mcnn")
    assert [savedmodels.export(counter, str(tmp_path)) for _ in range(2)] == [str(tmp_path / "1"), str(tmp_path / "2")]
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]
    assert tfcount.load(tmp_path).stride == 4


def test_export_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full(model, folder, signatures):
        os.makedirs(folder)
        raise tf.errors.OutOfRangeError(None, None, "no space")

    monkeypatch.setattr(tf.saved_model, "save", full)
    with pytest.raises(OSError, match=r"cannot be written to: is the disk full\? .*no space"):
        savedmodels.export(build_counter("mcnn"), str(tmp_path))
    assert os.listdir(tmp_path) == []


def test_damaged_savedmodels_and_runs(run, savedmodel, tmp_path):
    shutil.copytree(savedmodel / "1", tmp_path / "1")
    data = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"The SavedModel in '.*1' is damaged: export it again"):
        tfcount.load(tmp_path)
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"run.json is damaged \(.*\). Restore it from a copy, or train again"):
        runs.Run(str(tmp_path / "run")).notes()
    (tmp_path / "run" / "best.calibration.json").write_text('{"line": ')
    with pytest.raises(ValueError, match=r"best.calibration.json is damaged \(.*\). Restore it from a copy, or train"):
        tfcount.load(tmp_path / "run")


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((4, 4, 4), np.uint8), r"Received: shape \(4, 4, 4\), dtype uint8"),
        (np.zeros((4, 4, 3)), "dtype float64"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
    ],
)
def test_arrays_that_are_no_images(savedmodel, image, message):
    with pytest.raises(ValueError, match=message):
        tfcount.load(savedmodel).count(image)


class TestJson:
    """One document on standard output, and all that people read on standard error."""

    def test_evaluate(self, run, tmp_path):
        result = command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}", "--json")
        assert json.loads(result.stdout) == json.loads((tmp_path / "evaluation.json").read_text())
        assert "MAE" in result.stderr and "Written:" in result.stderr

    def test_predict(self, savedmodel, pictures):
        broken = pictures / "broken.jpg"
        broken.write_bytes(b"no picture")
        result = command("tfcount.predict", f"--savedmodel={savedmodel}", "--json", pictures, code=1)
        broken.unlink()
        found = json.loads(result.stdout)
        assert list(found["errors"]) == [str(broken)] and len(found["images"]) == 3
        model = tfcount.load(savedmodel)
        for path, one in found["images"].items():
            assert one["count"] == pytest.approx(model.count(path), rel=1e-4) and one["extrapolated"] is False
            assert len(one["points"]) == len(model.locate(path)[0])
        assert "3 images" in result.stderr

    def test_compare(self, run, tmp_path):
        command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}")
        result = command("tfcount.compare", "--json", f"--output={tmp_path}/a.png", tmp_path, tmp_path)
        found = json.loads(result.stdout)
        assert found["images"] == 4 and [row["mae"] for row in found["results"]] == [found["results"][0]["mae"]] * 2
        assert found["results"][1]["difference"] == 0 and "differences of |error|" in result.stderr

    def test_select_labels(self, crowds, tmp_path):
        output, folder = f"--output={tmp_path}/questions.csv", shutil.copytree(crowds, tmp_path / "records")
        without_counts(folder)
        result = command("tfcount.select_labels", f"--data_dir={folder}", "--number=5", output, "--json")
        found = json.loads(result.stdout)
        assert len(found["questions"]) == 5 and found["pairs"] == found["implied"] == found["counted"] == 0
        assert found["new"] is None
        result = command("tfcount.select_labels", f"--data_dir={crowds}", "--simulate", "--json")
        found = json.loads(result.stdout)
        assert found["images"] == 12 and set(found["questions"]) == {"proposed", "at random"}
