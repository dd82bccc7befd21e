"""Small data sets of every format, and ways to damage them as disks, editors and strangers do."""

import json
import os
import re
import unicodedata
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.tfrecords_tools.annotations.image_files import save_image
from tests.tfrecords_tools.annotations.test_jhu import save_jhu
from tests.tfrecords_tools.annotations.test_nwpu import save_nwpu
from tests.tfrecords_tools.annotations.test_shanghaitech import save_shanghaitech
from tests.tfrecords_tools.annotations.test_ucf import save_ucf
from tests.tfrecords_tools.annotations.test_vgg_cells import save_cells
from tfcount.records import schema
from tfcount.records.images import EXTENSIONS
from tfrecords_tools import build
from tfrecords_tools.writing.plan import plan_shards

ODD_NAMES = [
    "é.jpg",
    unicodedata.normalize("NFD", "é.jpg"),
    os.fsdecode(b"\xff.jpg"),
    "a\nb.png",
    "IMG_1.JPG",
    "2_ann.png",
    "{}.jpg",
    "0001.jpg",
    os.fsdecode(b"GT_\xff.mat"),
    "more.csv",
]
TOKENS = [
    *["nan", "inf", "-1", "0", "2", "1e39", "1e999", "0x10", "1_0", "9" * 400, "9" * 5000, "-" * 9],
    *["", " ", "\n", "\r", '"', "'", ",", ",,,", "null", "true", "[]", "{}", '"1"', "é", "\0", "\ud800", "[" * 100000],
    *["../../secret", "/etc/hostname", "..", "."],
]
ENCODINGS = ["utf-16", "latin-1", "utf-8-sig", "utf-32"]
TARGETS = ["/dev/zero", "/etc/hostname", "nowhere", ".", "/", "self"]


class Mutation(NamedTuple):
    """One damage: `kind` is the name of a function below, the rest chooses file, place and value."""

    kind: str
    file: int
    place: float
    value: int


def save_folder_csv(root):
    for seed, name in enumerate(("a.jpg", "é.png")):
        save_image(f"{root}/{name}", seed)
    (root / "points.csv").write_text("image,x,y\na.jpg,1,2\né.png,,\na.jpg,3.5,4\n", encoding="utf-8")


def save_folder_counts(root):
    for split, names in (("train", ("a.jpg", "b.jpg")), ("test", ("c.jpg",))):
        for seed, name in enumerate(names):
            save_image(f"{root}/{split}/{name}", seed)
        lines = "".join(f"{name},{7 if name != 'b.jpg' else ''}\n" for name in names)
        (root / split / "counts.csv").write_text("image,count\n" + lines)


def save_folder_json(root):
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        save_image(f"{root}/{name}", seed)
    (root / "points.json").write_text(json.dumps({"a.jpg": [[1, 2.5], [3, 4]], "b.jpg": []}))


def save_qnrf(root):
    save_ucf(root / "Train", ["img_0001", "img_0002"])
    save_ucf(root / "Test", ["img_0001"])


# Name of a test -> data set as `build` calls it, and what saves a small one.
FORMATS = {
    "sha": ("sha", lambda root: save_shanghaitech(root / "part_A", number=1)),
    "shb": ("shb", lambda root: save_shanghaitech(root / "part_B_final", "ground-truth", 1)),
    "ucf_qnrf": ("ucf_qnrf", save_qnrf),
    "ucf_cc_50": ("ucf_cc_50_2", lambda root: save_ucf(root, "12345")),
    "jhu": ("jhu", save_jhu),
    "nwpu": ("nwpu", save_nwpu),
    "vgg_cells": ("vgg_cells", lambda root: save_cells(root / "cells")),
    "folder_csv": ("folder", save_folder_csv),
    "folder_counts": ("folder", save_folder_counts),
    "folder_json": ("folder", save_folder_json),
}


def read_tree(root):
    """Returns path below the folder -> content of all of its files."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def write_tree(root, tree):
    """Writes what `read_tree` returned; what is no bytes is a function that makes something else at its path."""
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if callable(content):
            content(path)
        else:
            path.write_bytes(content)


def flip(tree, name, mutation):
    content = bytearray(tree[name])
    if content:
        content[int(mutation.place * (len(content) - 1))] = mutation.value % 256
    tree[name] = bytes(content)


def cut(tree, name, mutation):
    tree[name] = tree[name][: int(mutation.place * len(tree[name]))]


def cut_out(tree, name, mutation):
    start = int(mutation.place * len(tree[name]))
    tree[name] = tree[name][:start] + tree[name][start + 1 + mutation.value % 16 :]


def double(tree, name, mutation):
    tree[name] *= 2


def grow(tree, name, mutation):
    """A number of 32 bits becomes a huge one: sizes in binary files."""
    start = int(mutation.place * len(tree[name])) // 4 * 4
    tree[name] = tree[name][:start] + b"\xff\xff\xff\x7f" + tree[name][start + 4 :]


def replace_token(tree, name, mutation):
    """A word or number of a text becomes another."""
    found = list(re.finditer(rb'[^\s,:\[\]{}"]+', tree[name]))
    if found:
        one = found[int(mutation.place * (len(found) - 1))]
        token = TOKENS[mutation.value % len(TOKENS)].encode("utf-8", "surrogatepass")
        tree[name] = tree[name][: one.start()] + token + tree[name][one.end() :]


def insert_token(tree, name, mutation):
    start = int(mutation.place * len(tree[name]))
    token = TOKENS[mutation.value % len(TOKENS)].encode("utf-8", "surrogatepass")
    tree[name] = tree[name][:start] + token + tree[name][start:]


def double_line(tree, name, mutation):
    lines = tree[name].splitlines(keepends=True)
    if lines:
        lines.append(lines[int(mutation.place * (len(lines) - 1))])
    tree[name] = b"".join(lines)


def double_member(tree, name, mutation):
    """A member of a JSON object stands there twice."""
    tree[name] = re.sub(rb"\{(.+?): ", rb"{\1: [], \1: ", tree[name], count=1)


def encode(tree, name, mutation):
    text = tree[name].decode("utf-8", "replace") + "é"
    tree[name] = text.encode(ENCODINGS[mutation.value % len(ENCODINGS)], "replace")


def exchange(tree, name, mutation):
    """Two files have each other's content."""
    other = list(tree)[mutation.value % len(tree)]
    tree[name], tree[other] = tree[other], tree[name]


def remove(tree, name, mutation):
    del tree[name]


def rename(tree, name, mutation):
    tree[_odd(name, mutation)] = tree.pop(name)


def copy(tree, name, mutation):
    tree[_odd(name, mutation)] = tree[name]


def link(tree, name, mutation):
    target = TARGETS[mutation.value % len(TARGETS)]
    target = os.path.basename(name) if target == "self" else target
    tree[name] = lambda path: path.symlink_to(target)


def pipe(tree, name, mutation):
    tree[name] = os.mkfifo


def folder(tree, name, mutation):
    tree[name] = lambda path: path.mkdir()


KINDS = {
    function.__name__: function
    for function in (
        *(flip, cut, cut_out, double, grow, replace_token, insert_token, double_line, double_member, encode),
        *(exchange, remove, rename, copy, link, pipe, folder),
    )
}
# Where they are, most of what a reader does with a file was done before.
IN_TEXT = ["replace_token", "insert_token"]
MUTATIONS = st.lists(
    st.builds(
        Mutation,
        st.sampled_from([*KINDS, *IN_TEXT, *IN_TEXT]),
        st.integers(0, 1000),
        # Spread out: most of what hypothesis chooses is near its ends, which in files are their headers.
        st.integers(0, 2**32 - 1).map(lambda number: number * 2654435761 % 2**32 / 2**32),
        st.integers(0, 1000),
    ),
    min_size=1,
    max_size=3,
)


def mutate(tree, mutations):
    """Returns a damaged copy of a tree. Annotations are damaged more often than images."""
    tree = dict(tree)
    for mutation in mutations:
        files = [name for name, content in tree.items() if isinstance(content, bytes)]
        annotations = [name for name in files if not name.endswith(EXTENSIONS) or "dots" in name]
        names = files + 4 * annotations
        if names:
            KINDS[mutation.kind](tree, names[mutation.file % len(names)], mutation)
    return tree


def read_all(dataset, root):
    """Reads and loads a data set as `build` does, and checks what it holds; returns its records."""
    splits, said = build.read(dataset, str(root))
    plan_shards(splits)
    records = []
    for source in [source for sources in splits.values() for source in sources]:
        loaded = source.load()
        check_record(loaded.image)
        said += [warning.detail for warning in loaded.warnings]
        records.append(loaded.image)
    assert all(text.encode() and str(root) in text for text in said)
    return records


def check_record(image):
    assert image.serialize() and image.labels in schema.LABELS
    assert 0 < image.height < 1e5 and 0 < image.width < 1e5
    points = image.points
    assert points.dtype == np.float32 and points.ndim == 2 and points.shape[1] == 2
    assert np.all((points >= 0) & (points <= [image.width, image.height]))
    if image.count is not None:
        assert np.isfinite(np.float32(image.count)) and image.count >= len(points)
    if image.boxes is not None:
        assert image.boxes.shape == (len(points), 4) and np.all(np.isfinite(image.boxes))


def _odd(name, mutation):
    return os.path.join(os.path.dirname(name), ODD_NAMES[mutation.value % len(ODD_NAMES)])
