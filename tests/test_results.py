"""Every reported number follows from what lies under `results/`."""

import csv
import json
import pathlib

import numpy as np
import pytest

from tfcount import evaluation, flags

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = sorted(path.parent for path in ROOT.glob("results/**/predictions.csv"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: str(path.relative_to(ROOT / "results")))
class TestEveryResult:
    def test_evaluation_follows_from_the_predictions(self, folder):
        summary = json.loads((folder / "evaluation.json").read_text())
        with open(folder / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        truth, predicted = (np.array([float(row[key]) for row in rows]) for key in ("ground_truth", "predicted"))
        assert summary["images"] == len(rows)
        metrics = evaluation.count_metrics(truth, predicted)
        # What was kept before the bias was a metric lacks it, and nothing else.
        if "bias" not in summary:
            metrics = {name: value for name, value in metrics.items() if name != "bias"}
            del metrics["interval"]["bias"]
        for name, value in metrics.items():
            if name != "interval":
                assert summary[name] == pytest.approx(value, rel=1e-5), name
            else:
                for metric, ends in value.items():
                    assert summary["interval"][metric] == pytest.approx(ends, rel=1e-4), metric
        if summary["game"] is None:
            assert flags.from_file(str(folder / "run.flags")).method == "ranking"
        else:
            assert summary["game"][0] == pytest.approx(summary["mae"], rel=1e-5)
            assert summary["game"] == sorted(summary["game"])

    def test_what_it_depends_on_is_there(self, folder):
        run = json.loads((folder / "evaluation.json").read_text())["run"]
        config = flags.from_file(str(folder / "run.flags"))
        assert run["seed"] == config.seed and run["steps"] == config.train.steps
        assert run["versions"].keys() >= {"python", "tensorflow", "keras", "numpy"}
        assert run["training_minutes"] > 0 and run["hardware"]["cores"] and run["commit"]
        labels = json.loads((folder / "labels.json").read_text())
        assert labels["images"] == labels["training"]["images"] + labels["validation"]["images"]
        assert f"step {run['steps']}/{run['steps']}" in (folder / "train.log").read_text()
