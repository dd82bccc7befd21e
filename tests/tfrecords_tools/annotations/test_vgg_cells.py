import os

import cv2
import numpy as np
import pytest

from tests.tfrecords_tools.annotations.image_files import HEIGHT, WIDTH, save_image
from tfrecords_tools.annotations import vgg_cells


def save_cells(root, numbers=("001", "100", "101")):
    dots = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    dots[3, 5, 2] = dots[3, 6, 2] = 255  # Touching dots.
    dots[15, 23, 2] = 1
    dots[8, 8, 0] = 255  # Blue.
    for number in numbers:
        save_image(f"{root}/{number}cell.png")
        cv2.imwrite(f"{root}/{number}dots.png", dots)


@pytest.mark.parametrize("inner", ["", "cells"])
def test_vgg_cells(tmp_path, inner):
    save_cells(tmp_path / inner)
    splits = vgg_cells.read(str(tmp_path))
    assert {split: [source.id for source in sources] for split, sources in splits.items()} == {
        "train": ["001", "100"],
        "test": ["101"],
    }
    loaded = splits["train"][0].load()
    np.testing.assert_array_equal(loaded.image.points, [[5.5, 3.5], [6.5, 3.5], [23.5, 15.5]])


def test_vgg_cells_grey_dots_and_none(tmp_path):
    save_cells(tmp_path)
    path = str(tmp_path / "001dots.png")
    dots = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.imwrite(path, dots)
    assert vgg_cells.read(str(tmp_path))["train"][0].load().image.points.shape == (0, 2)
    dots[2, 4] = 255
    cv2.imwrite(path, dots)
    np.testing.assert_array_equal(vgg_cells.read_dots(path)[0], [[4.5, 2.5]])


def test_vgg_cells_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match="no images named like"):
        vgg_cells.read(str(tmp_path))
    save_cells(tmp_path)
    save_image(tmp_path / "001cell.png", height=5)
    with pytest.raises(ValueError, match=r"001dots\.png is 24 x 16 pixels.*001cell\.png 24 x 5"):
        vgg_cells.read(str(tmp_path))["train"][0].load()
    (tmp_path / "001dots.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"001dots\.png cannot be read as an image: it is empty. Copy it again"):
        vgg_cells.read_dots(str(tmp_path / "001dots.png"))
    os.remove(tmp_path / "100dots.png")
    with pytest.raises(FileNotFoundError, match=r"100dots\.png is missing"):
        vgg_cells.read(str(tmp_path))
    save_cells(tmp_path, ["100", "201"])
    with pytest.raises(ValueError, match=r"201cell\.png"):
        vgg_cells.read(str(tmp_path))


def test_vgg_cells_dots_that_ask_for_memory(tmp_path):
    """A part of a PNG claims to have 3.4 gigabytes."""
    save_cells(tmp_path)
    path = tmp_path / "001dots.png"
    content = bytearray(path.read_bytes())
    content[content.index(b"IDAT") - 4] = 205
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"001dots\.png cannot be read as an image: it is damaged"):
        vgg_cells.read_dots(str(path))


@pytest.mark.parametrize(
    ("remaining", "message"), [(["001"], "no image of split 'test'"), (["101"], "of split 'train'")]
)
def test_vgg_cells_of_one_split(tmp_path, remaining, message):
    save_cells(tmp_path, remaining)
    with pytest.raises(FileNotFoundError, match=f"{message}: copy all 200 images"):
        vgg_cells.read(str(tmp_path))
