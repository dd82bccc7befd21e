"""The how-to pages do what they promise, followed to the letter."""

import json

import pytest

from tests.docs.following import ROOT, copy_project, follow

PAGES = ROOT / "docs" / "how_to"
# Training to the end would take long.
FEW = ["--train_steps=2", "--train_batch_size=2", "--data_crop=32", "--train_validation_interval=2"]


@pytest.mark.parametrize("page, run", [("add_a_loss", "l1"), ("add_a_method", "crop_count")])
def test_page(page, run, crowds, tmp_path):
    copy_project(tmp_path)
    (tmp_path / "few.flags").write_text("\n".join([*FEW, "--counter=compact"]))
    replaced = {"--data_dir=data/mine": f"--data_dir={crowds}", "--counter=compact": "--flagfile=few.flags"}
    commands = follow(PAGES / f"{page}.md", tmp_path, replaced)
    assert len(commands) == 3
    notes = json.loads((tmp_path / "runs" / run / "run.json").read_text())
    assert notes["steps"] == 2
