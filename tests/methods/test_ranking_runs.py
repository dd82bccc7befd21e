"""Learning to rank: runs on rendered crowds, from counts and glances to what they count."""

import csv
import dataclasses
import json
import os
import signal

import cv2
import numpy as np
import pytest
import tensorflow as tf

import tfcount
from tests.running import run_training
from tests.test_commands import command
from tfcount import distribution, evaluation
from tfcount.config import ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.data.streams.evaluation import whole_images
from tfcount.inference import Calibration
from tfcount.methods import ranking
from tfcount.methods.ranking import Config
from tfcount.models import build_counter
from tfcount.ops import anchor_line
from tfcount.ops.anchor_line import AnchorLine
from tfcount.records import images, schema
from tfcount.records.folder import Records
from tfcount.runs import Run
from tfcount.serving import savedmodel

FEW = Config(anchors=4)


def config(crowds, steps=6, **options):
    return ExperimentConfig(
        method="ranking",
        counter="compact",
        data=DataConfig(dir=crowds, crop=0, validation_fraction=0.0, color=0.0, grey=0.0, long_side=112),
        train=TrainConfig(
            steps=steps,
            batch_size=8,
            learning_rate=3e-3,
            warmup_steps=2,
            ema=0.5,
            validation_interval=max(3, steps // 2),
        ),
        options=dataclasses.replace(FEW, **options),
    )


@pytest.fixture(scope="module")
def run(crowds, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("ranking") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distribution, "strategy", tf.distribute.get_strategy)
        assert run_training(config(crowds, steps=60, supervision="anchors", containment=0.1), folder) == 0
    return folder


class TestRun:
    def test_it_learns_the_order(self, run, crowds):
        model = Run(run).load()
        results = evaluation.evaluate(model, whole_images(Records.open(crowds, "train")))
        summary = evaluation.summarize(results)
        assert summary["ranking_accuracy"] > 0.95
        assert summary["game"] is None and summary["sparsity"] is None
        assert model.calibration.line.images == 4 and model.calibration.line.slope > 0
        # Images of a run are counted as its evaluation counts them, which reduces them.
        record = next(iter(Records.open(crowds, "train").serialized()))
        image = images.decode_image(schema.parse_image(record)["image"]).numpy()
        assert max(image.shape) > 112
        assert tfcount.load(run).count(image) == pytest.approx(results[0].predicted, rel=1e-5)

    def test_anchors_are_kept(self, run):
        entry = Run(run).notes()["validation"][-1]
        _, calibration = Run(run).load_counter()
        assert calibration.ranks
        line = {name.removeprefix("anchors_"): value for name, value in entry.items() if name.startswith("anchors_")}
        assert AnchorLine(**line) == calibration.line
        with open(f"{run}/labels.json") as file:
            labels = json.load(file)
        assert labels["counts"] == 4 and labels["dots"] == 0 and labels["pairs"] > 0
        assert labels["validation"]["images"] == 0

    def test_the_exported_counter_counts_alike(self, run, rng, tmp_path):
        counter, calibration = Run(run).load_counter()
        savedmodel.export(counter, str(tmp_path), calibration)
        image = rng.integers(0, 256, (40, 72, 3), dtype=np.uint8)
        here, there = tfcount.load(run), tfcount.load(tmp_path)
        assert there.calibration == here.calibration
        assert there.count(image) == pytest.approx(here.count(image), rel=1e-4, abs=1e-3)
        module = tf.saved_model.load(f"{tmp_path}/1")
        encoded = tf.io.encode_png(image)[None]
        assert here.calibration.ranks and there.predict(image).points is None
        with pytest.raises(ValueError, match="trained to rank images"):
            there.locate(image)
        assert np.sum(module.density(image[None])["point_mask"]) == 0
        expected = here.count(image)
        for served in (module.count(encoded), module.density(image[None])):
            assert float(served["count"][0]) == pytest.approx(expected, rel=1e-4, abs=1e-3)
            assert bool(served["extrapolated"][0]) == here.predict(image).extrapolated

    def test_commands_do_not_take_the_map_for_a_density(self, run, tmp_path, rng):
        printed = command("tfcount.evaluate", f"--model_dir={run}", f"--output={tmp_path}").stdout
        assert "BEYOND" in printed and "GAME" not in printed
        with open(tmp_path / "evaluation.json") as file:
            assert 0 <= json.load(file)["extrapolated"] <= 4
        errors = command("tfcount.evaluate", f"--model_dir={run}", "--localization", code=1).stderr
        assert "--localization needs a density, and the map of" in errors
        path = tmp_path / "picture.png"
        cv2.imwrite(str(path), rng.integers(0, 256, (96, 128, 3), dtype=np.uint8))
        command("tfcount.predict", f"--savedmodel={run}", f"--output={tmp_path}", path)
        with open(tmp_path / "points.json") as file:
            assert json.load(file) == {str(path): []}

    @pytest.mark.parametrize("lowest, highest, beyond", [(0.0, 10.0, True), (10.0, 30.0, False), (30.0, 90.0, True)])
    def test_counts_beyond_the_anchors_are_told(self, rng, tmp_path, lowest, highest, beyond):
        counter = build_counter("compact")
        image = rng.integers(0, 256, (1, 40, 72, 3), dtype=np.uint8)
        line = AnchorLine(slope=1e-9, intercept=20.0, lowest=lowest, highest=highest, images=2)
        savedmodel.export(counter, str(tmp_path), Calibration(line, ranks=True))
        signature = tf.saved_model.load(f"{tmp_path}/1").signatures["density"]
        served = signature(image=tf.constant(np.repeat(image, 2, 0)))
        np.testing.assert_allclose(served["count"], [20, 20], rtol=1e-4)
        assert served["extrapolated"].numpy().tolist() == [beyond, beyond]

    @pytest.mark.parametrize("step", [3, 4])
    def test_resumed(self, crowds, tmp_path, stopping, step):
        """At the end of an interval, or inside one: a stopped run has its anchors, and goes on as if nothing was."""
        whole, parts = str(tmp_path / "whole"), str(tmp_path / "parts")
        assert run_training(config(crowds), whole) == 0
        with stopping(step, signal.SIGTERM):
            assert run_training(config(crowds), parts) == 128 + signal.SIGTERM
        assert Run(parts).notes()["steps"] == step
        assert Run(parts).load_counter()[1].line.images == 4
        assert run_training(config(crowds), parts, resume=True) == 0
        counters, calibrations = zip(*(Run(folder).load_counter() for folder in (whole, parts)), strict=True)
        for one, other in zip(*(counter.get_weights() for counter in counters), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        assert calibrations[0].line.slope == pytest.approx(calibrations[1].line.slope, rel=1e-3)
        # Weights without their calibration must not count by another line.
        os.remove(f"{parts}/last.calibration.json")
        with pytest.raises(FileNotFoundError, match="last.calibration.json is missing: restore it"):
            Run(parts).load_counter()

    def test_a_baseline_of_counts(self, crowds, tmp_path):
        folder = str(tmp_path / "run")
        assert run_training(config(crowds, pairs=False, supervision="all"), folder) == 0
        _, calibration = Run(folder).load_counter()
        assert calibration.line == AnchorLine() and not calibration.ranks
        with open(f"{folder}/labels.json") as file:
            labels = json.load(file)
        assert (labels["counts"], labels["pairs"]) == (12, 0)


def test_from_some_counts_and_some_glances(crowds, tmp_path):
    """Somebody's own pictures: half of them counted, none dotted, pairs labeled, a counter trained."""
    pictures, data, questions = tmp_path / "pictures", str(tmp_path / "data"), tmp_path / "questions.csv"
    pictures.mkdir()
    everything = Records.open(crowds, "train")
    counts, lines = {}, ["image,count"]
    for index, (record, row) in enumerate(zip(everything.serialized(), everything.rows, strict=True)):
        name = f"{row.id}.png"
        image = images.decode_image(schema.parse_image(record)["image"]).numpy()
        cv2.imwrite(str(pictures / name), image[..., ::-1])
        counts[name] = row.count
        lines.append(f"{name},{row.count:g}" if index % 2 else f"{name},")
    (pictures / "counts.csv").write_text("\n".join(lines))
    command("tfrecords_tools.build", "--dataset=folder", f"--input={pictures}", f"--output={data}")
    command("tfcount.select_labels", f"--data_dir={data}", "--number=12", f"--output={questions}")
    with open(questions, newline="") as file:
        asked = [row[:2] for row in csv.reader(file)][1:]
    with open(questions, "w", newline="") as file:
        rows = [(one, other, "greater" if counts[one] > counts[other] else "less") for one, other in asked]
        csv.writer(file).writerows([("image_a", "image_b", "relation"), *rows])
    more = tmp_path / "more.csv"
    printed = command(
        "tfcount.select_labels", f"--data_dir={data}", f"--answers={questions}", f"--output={more}"
    ).stdout
    assert "Kept 12 new labels" in printed and more.exists()

    plain = config(data, labels="records", supervision="anchors", anchors=50)
    folder = str(tmp_path / "run")
    assert run_training(plain, folder) == 0
    with open(f"{folder}/labels.json") as file:
        labels = json.load(file)
    assert (labels["dots"], labels["counts"], labels["pairs"]) == (0, 6, 12)
    assert Run(folder).load_counter()[1].line.images == 6
    # Held-out images of which nothing is known choose no weights.
    rows = Records.open(data, "train")
    seed = next(seed for seed in range(99) if np.isnan(rows.hold_out(0.05, seed)[1].rows[0].count))
    one = dataclasses.replace(plain, data=dataclasses.replace(plain.data, validation_fraction=0.05), seed=seed)
    with pytest.raises(ValueError, match="holds out 1 images of .* and the count of none is known"):
        run_training(one, str(tmp_path / "other"))


def test_potentials_that_do_not_grow(crowds, tmp_path, monkeypatch):
    """A run whose anchors give no line says so, and does not count."""
    monkeypatch.setattr(ranking, "ranking_hinge", lambda more, fewer, margin: more - fewer)
    folder = str(tmp_path / "run")
    assert run_training(config(crowds, steps=12), folder) == 0
    with pytest.raises(ValueError, match="cannot count: the potentials of its anchors do not grow with their counts"):
        Run(folder).load_counter()
    with open(f"{folder}/train.log") as file:
        log = file.read()
    assert "no line through the anchors" in log
    assert "cannot count: its anchors give no line." in log and "Next:" not in log


@pytest.mark.parametrize("which", [1, 2])
def test_weights_without_a_line_are_never_the_best(crowds, tmp_path, monkeypatch, which):
    """However wrong the line of the other interval is: a count of 0 for every image would be nearer."""
    calls = iter([1, 2])

    def fit(potentials, counts):
        if next(calls) == which:
            return AnchorLine(slope=1e-9, intercept=1e6, lowest=1.0, highest=2.0, images=4)
        raise ValueError("none")

    monkeypatch.setattr(anchor_line, "fit", fit)
    plain, folder = config(crowds), str(tmp_path / "run")
    held_out = dataclasses.replace(plain, data=dataclasses.replace(plain.data, validation_fraction=0.25))
    assert run_training(held_out, folder) == 0
    entries = Run(folder).notes()["validation"]
    assert ["val_mae" in entry for entry in entries] == [which == 1, which == 2]
    assert Run(folder).load_counter()[1].line.intercept == 1e6
