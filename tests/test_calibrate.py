"""`tfcount calibrate`: what it writes, what follows it, and where it has nothing to say."""

import csv
import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest
from absl import flags

from tests.records import tiny
from tfcount import calibrate, evaluation, runs, training
from tfcount.drawing.evaluation_table import format_evaluation
from tfcount.inference import Calibration, CountingModel
from tfcount.ops.anchor_line import AnchorLine
from tfcount.records.folder import Records
from tfcount.runs import Run


def call(*arguments):
    values = flags.FlagValues()
    calibrate.define_flags(values)
    values(["calibrate", *arguments])
    return calibrate.main([], values)


@pytest.fixture
def copy(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


@pytest.fixture(scope="module")
def ten(crowds, tmp_path_factory):
    """The test images under the name of another camera's training images, with counts that `write` sets."""
    folder = shutil.copytree(crowds, tmp_path_factory.mktemp("ten") / "records")

    def write(counts):
        tiny.forget_checksums(folder)
        with open(folder / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        given = iter(counts)
        for row in rows:
            if row["split"] == "test":
                row["count"] = next(given)
        with open(folder / "index.csv", "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        return f"--data_dir={folder}"

    return write


def test_counts_follow_the_factor(copy, crowds, ten, capsys):
    """Of counts that are three times what the counter says: the factor is 3; points, threshold and weights stay."""
    model, records = Run(str(copy)).load(), Records.open(crowds, "test")
    sums = evaluation.count_images(model, records)
    weights = (copy / "best.weights.h5").read_bytes()
    data = ten([3 * value for value in sums])
    call(f"--model_dir={copy}", data, "--split=test", "--json")
    found = capsys.readouterr()
    summary = json.loads(found.out)
    assert summary["slope"] == pytest.approx(3, rel=1e-4) and summary["images"] == 4 and summary["shown"]
    assert summary["after"]["mae"] < 1e-2 < summary["before"]["mae"]
    assert "factor      3.000   95 % interval 3.000 to 3.000" in found.err
    assert "Warning: 4 images are few" in found.err and f"Written: {copy}/best.calibration.json" in found.err
    assert (copy / "best.weights.h5").read_bytes() == weights
    calibrated = Run(str(copy)).load()
    assert dataclasses.replace(calibrated.calibration, line=AnchorLine()) == model.calibration
    assert calibrated.calibration.line.images == 4
    image = np.full((40, 60, 3), 90, np.uint8)
    before, after = model.predict(image), calibrated.predict(image)
    assert after.count == pytest.approx(3 * before.count, rel=1e-4) and not after.extrapolated
    np.testing.assert_array_equal(after.points, before.points)
    # What is fitted again starts from the sums, not from what was fitted before.
    call(f"--model_dir={copy}", data, "--split=test", "--json")
    assert json.loads(capsys.readouterr().out) == summary
    call(f"--model_dir={copy}", "--form=none")
    assert "best.calibration.json: counts are the sums of densities" in capsys.readouterr().out
    assert Run(str(copy)).load_counter()[1] == model.calibration


def test_of_its_own_records_held_out_images_are_counted(copy, crowds):
    """Those of the rule by which the run holds out: at random, and the last ones."""
    run, flagfile = Run(str(copy)), copy / "run.flags"
    for rule in ("", "order"):
        flagfile.write_text(flagfile.read_text() + f"--data_validation_by={rule}\n")
        _, held_out = training.open_records(run.config())
        call(f"--model_dir={copy}")
        line = run.calibration(runs.BEST).line
        sums = evaluation.count_images(run.load().calibrated(Calibration()), held_out)
        assert line.images == len(held_out.rows) == 3
        assert line.slope == pytest.approx(sum(row.count for row in held_out.rows) / sums.sum(), rel=1e-4)
    assert [row.id for row in held_out.rows] == ["train_00009", "train_00010", "train_00011"]
    flagfile.write_text(flagfile.read_text().replace("--data_validation_by=order\n", ""))
    flagfile.write_text(flagfile.read_text().replace("validation_fraction=0.25", "validation_fraction=0.0"))
    with pytest.raises(ValueError, match="was trained on all images of .*: give --data_dir with records of other"):
        call(f"--model_dir={copy}")


@pytest.mark.parametrize(
    "counts, message",
    [
        (["nan"] * 4, "No image of split 'test' in .* has a known count. Count some, put the counts into"),
        ([0] * 4, "Nobody is in any of the 4 counted images"),
        ([5, "nan", "nan", "nan"], "A factor needs 2 images or more with known counts, better 10. Received: 1"),
    ],
)
def test_what_gives_no_factor(run, ten, counts, message):
    before = pathlib.Path(run, "best.calibration.json").read_bytes()
    with pytest.raises(ValueError, match=message):
        call(f"--model_dir={run}", ten(counts), "--split=test")
    assert pathlib.Path(run, "best.calibration.json").read_bytes() == before


def test_counters_that_rank_have_their_anchors(copy, crowds):
    path = copy / "best.calibration.json"
    ranking = Calibration(AnchorLine(2.0, 0.0, 1.0, 9.0, 2), ranks=True)
    ranking.write(str(path))
    with pytest.raises(ValueError, match="only ranks images: its counts come from the line through its anchors"):
        call(f"--model_dir={copy}", f"--data_dir={crowds}")
    assert Run(str(copy)).calibration(runs.BEST) == ranking


def test_a_run_that_is_trained_meanwhile(copy):
    run = Run(str(copy))
    before = run.calibration(runs.BEST)
    dataclasses.replace(before, threshold=0.123).write(str(copy / "best.calibration.json"))
    with pytest.raises(ValueError, match="has changed since it was read: is the run still in training"):
        run.replace_calibration(before, Calibration())
    assert run.calibration(runs.BEST).threshold == 0.123


def test_evaluation_tells_of_the_line(crowds):
    """A counter that says one person in every image, and three times as many: also by parts of the image."""

    def one(images):
        density = np.zeros((1, -(-images.shape[1] // 8), -(-images.shape[2] // 8), 1), np.float32)
        density[0, 0, 0] = 1
        return density

    records = Records.open(crowds, "test")
    model = CountingModel(one, 8, Calibration(AnchorLine(slope=3.0, images=7)))
    results, summary = evaluation.evaluate_split(model, records, False)
    assert {result.predicted for result in results} == {3} and summary["game"][0] == pytest.approx(summary["mae"])
    assert summary["line"] == {"slope": 3, "intercept": 0, "images": 7}
    assert "COUNTS    x 3.000   of the sums of densities, by 7 counted images" in format_evaluation(summary)
    assert "line" not in evaluation.evaluate_split(CountingModel(one, 8), records, False)[1]
