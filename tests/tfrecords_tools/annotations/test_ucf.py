import os

import numpy as np
import pytest
import scipy.io

from tests.tfrecords_tools.annotations.image_files import save_image
from tfrecords_tools.annotations import files, ucf


def save_ucf(folder, names, points=((1.5, 2.0), (24, 16), (-0.5, 3))):
    for seed, name in enumerate(names):
        save_image(folder / f"{name}.jpg", seed=seed)
        scipy.io.savemat(folder / f"{name}_ann.mat", {"annPoints": np.asarray(points, np.float64)})


def test_ucf_qnrf(tmp_path):
    save_ucf(tmp_path / "Train", ["img_0002", "img_0001"])
    save_ucf(tmp_path / "Test", ["img_0001"])
    splits = ucf.read_qnrf(str(tmp_path))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["img_0001", "img_0002"],
        "test": ["img_0001"],
    }
    loaded = splits["test"][0].load()
    np.testing.assert_array_equal(loaded.image.points, np.float32([[1.5, 2], [24, 16], [0, 3]]))


def test_folds_of_ucf_cc_50_share_out_the_images(tmp_path):
    save_ucf(tmp_path, [str(number) for number in range(1, 13)])
    tests = []
    for fold in range(1, 6):
        splits = ucf.read_cc_50(str(tmp_path), fold)
        names = {split: [source.id for source in sources] for split, sources in splits.items()}
        assert len(names["train"]) + len(names["test"]) == 12 and not set(names["train"]) & set(names["test"])
        tests += names["test"]
    assert tests == [str(number) for number in range(1, 13)]


@pytest.mark.parametrize("points", [[], [[3.0, 4.0]]])
def test_ucf_with_few_people(tmp_path, points):
    save_ucf(tmp_path, ["1"], points)
    assert ucf.read_heads(str(tmp_path / "1_ann.mat")).points.shape == (len(points), 2)


def test_ucf_that_does_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no folder .*Train"):
        ucf.read_qnrf(str(tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no images"):
        ucf.read_cc_50(str(tmp_path), 1)
    save_ucf(tmp_path, ["1", "2"])
    with pytest.raises(FileNotFoundError, match="holds 2 images, fewer than the 5 folds"):
        ucf.read_cc_50(str(tmp_path), 1)
    (tmp_path / "2.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="2_ann.mat has no image"):
        ucf.read_cc_50(str(tmp_path), 1)
    (tmp_path / "2_ann.mat").unlink()
    (tmp_path / "1_ann.mat").write_bytes(b"no MATLAB")
    with pytest.raises(ValueError, match=r"1_ann.mat is not an annotation of UCF, which holds `annPoints`"):
        ucf.read_heads(str(tmp_path / "1_ann.mat"))
    (tmp_path / "1_ann.mat").unlink()
    with pytest.raises(FileNotFoundError, match="1.jpg has no annotation"):
        ucf.read_cc_50(str(tmp_path), 1)


def test_ucf_passes_over_a_picture_of_an_annotation(tmp_path):
    save_ucf(tmp_path, ["1", "2"])
    save_image(tmp_path / "2_ann.png")
    with pytest.warns(files.AnnotationWarning, match=r"2_ann\.png is passed over: it has the name of an annotation"):
        sources = ucf._read_folder(str(tmp_path), str(tmp_path))
    assert [source.id for source in sources] == ["1", "2"]


def test_ucf_images_of_one_name(tmp_path):
    save_ucf(tmp_path, ["1", "2"])
    save_image(tmp_path / "2.png")
    with pytest.raises(ValueError, match=r"2\.png and 2\.jpg have the same name, and so one annotation"):
        ucf.read_cc_50(str(tmp_path), 1)


@pytest.mark.parametrize("name", ["1.jpg", "1_ann.mat"])
def test_ucf_files_that_are_none(tmp_path, name):
    (tmp_path / "data").mkdir()
    save_ucf(tmp_path / "data", "12345")
    path = tmp_path / "data" / name
    for make, message in {
        os.mkfifo: "must be a regular file",
        os.mkdir: "must be a regular file",
        lambda path: os.symlink("/dev/zero", path): "must be a regular file",
        lambda path: os.symlink("../secret", path): "is a link out of",
        lambda path: os.symlink("nowhere", path): "is missing, or a link that leads nowhere",
    }.items():
        (tmp_path / "secret").write_text("secret")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        make(path)
        with pytest.raises((ValueError, FileNotFoundError), match=f"{name} {message}"):
            ucf.read_cc_50(str(tmp_path / "data"), 1)
