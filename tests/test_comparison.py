import numpy as np
import pytest

from tfcount import comparison
from tfcount.comparison import predictions_csv
from tfcount.drawing.comparison_figure import draw_comparison
from tfcount.evaluation import ImageResult


def write(folder, predicted, truth=None, first=0):
    folder.mkdir(parents=True)
    truth = np.arange(len(predicted)) * 10 if truth is None else truth
    results = [
        ImageResult(f"image_{first + index}", float(truth[index]), value, value, False, 1, 1, 0.0, None, None)
        for index, value in enumerate(predicted)
    ]
    (folder / "predictions.csv").write_text(predictions_csv(results))
    return str(folder)


@pytest.fixture
def folders(tmp_path, rng):
    truth = np.arange(80) * 10
    baseline = write(tmp_path / "baseline", truth + 20 + rng.normal(0, 3, 80))
    write(tmp_path / "better" / "seed_0", truth + 15 + rng.normal(0, 3, 80))
    write(tmp_path / "better" / "seed_1", truth - 16 + rng.normal(0, 3, 80))
    same = write(tmp_path / "same", truth - 20 + rng.normal(0, 3, 80))
    return [baseline, str(tmp_path / "better"), same]


def test_verdicts(folders):
    results = comparison.read_results(folders)
    assert [result.predicted.shape for result in results] == [(1, 80), (2, 80), (1, 80)]
    rows = comparison.summarize(results)
    assert [row.get("verdict") for row in rows] == [None, "better", "not shown"]
    assert rows[0]["mae"] == pytest.approx(20, abs=1)
    assert rows[1]["difference"] == pytest.approx(-4.5, abs=1)
    worse = comparison.summarize(results[1::-1])[1]
    assert worse["verdict"] == "worse"


def test_table_and_picture(folders):
    results = comparison.read_results(folders)
    rows = comparison.summarize(results)
    lines = comparison.table(results, rows).splitlines()
    assert lines[0].startswith("80 images; differences of |error| to baseline")
    assert lines[3].startswith("better        2") and lines[3].endswith("better")
    assert draw_comparison(results, rows).startswith(b"\x89PNG")


def test_equal_names_are_told_apart(folders, tmp_path):
    other = write(tmp_path / "elsewhere" / "baseline", np.arange(80) * 10.0)
    names = [result.name for result in comparison.read_results([folders[0] + "/", other])]
    assert names == [folders[0], other]


def test_other_images_are_refused(folders, tmp_path):
    other = write(tmp_path / "other", np.arange(80) * 10.0, first=1)
    with pytest.raises(ValueError, match=r"other/predictions.csv and .* not of the same images \(2 differ, such as im"):
        comparison.read_results([folders[0], other])


def test_other_counts_are_refused(folders, tmp_path):
    truth = np.arange(80) * 10
    truth[3] = 31
    other = write(tmp_path / "other", np.arange(80) * 10.0, truth)
    with pytest.raises(ValueError, match="1 differ, such as image_3: 31 and 30 people"):
        comparison.read_results([folders[0], other])


def test_a_folder_without_predictions(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no predictions.csv, nor do .* seed_\*: call `python -m tfcou"):
        comparison.read_results([folders[0], str(tmp_path / "missing")])


@pytest.mark.parametrize("content", ["", "image_id,ground_truth\n", "image_id,ground_truth,predicted\na,1,x\n"])
def test_a_damaged_file(folders, content):
    path = folders[2] + "/predictions.csv"
    with open(path, "w") as file:
        file.write(content)
    with pytest.raises(ValueError, match=r"same/predictions.csv is empty or damaged: it must have lines `image_id,"):
        comparison.read_results(folders)


@pytest.mark.parametrize(
    "lines, message",
    [("a,1,2\na,1,2\n", "has image 'a' twice"), ("a,1,nan\n", r"has counts \[1.0, nan\] for image 'a': they must be")],
)
def test_files_that_make_no_sense(tmp_path, lines, message):
    path = tmp_path / "one" / "predictions.csv"
    path.parent.mkdir()
    path.write_text("image_id,ground_truth,predicted\n" + lines)
    with pytest.raises(ValueError, match=message):
        comparison.read_results([str(path.parent)])


def test_few_images_show_nothing(tmp_path):
    one = write(tmp_path / "one", np.arange(9) * 10.0 + 5)
    other = write(tmp_path / "other", np.arange(9) * 10.0)
    rows = comparison.summarize(comparison.read_results([one, other]))
    assert rows[1]["verdict"] == "not shown: fewer than 10 images"
