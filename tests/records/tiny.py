"""Folders of records of a few images of a few pixels, made in milliseconds."""

import csv
import dataclasses
import json
import pathlib

import cv2
import numpy as np

from tfcount.records import schema
from tfcount.records.labels import CountLabel, PairLabel, write_labels
from tfcount.records.manifest import INDEX, MANIFEST
from tfrecords_tools.writing.dataset import write_dataset
from tfrecords_tools.writing.plan import LoadedImage


@dataclasses.dataclass(frozen=True)
class Tiny:
    """An image of 4 x 6 pixels with as many points as its number."""

    number: int

    @property
    def id(self):
        return f"image_{self.number}"

    def fingerprint(self):
        return self.id

    def load(self):
        image = cv2.imencode(".png", np.full((4, 6, 3), self.number, np.uint8))[1].tobytes()
        points = np.linspace(0, 4, 2 * self.number, dtype=np.float32).reshape(-1, 2)
        return LoadedImage(schema.AnnotatedImage(self.id, image, 4, 6, points), 0, 0)


def build(folder, train=20, test=3, first=0):
    """Builds records with labels: 20 images for training make three shards."""
    numbers = {"train": range(first, first + train), "test": range(first, first + test)}
    sources = {split: [Tiny(number) for number in chosen] for split, chosen in numbers.items()}
    write_dataset(str(folder), "tiny", sources, {"first": first})
    ids = [source.id for source in sources["train"]]
    write_labels(str(folder), "train", PairLabel, [PairLabel(ids[0], ids[1], "less", "human")])
    write_labels(str(folder), "train", CountLabel, [CountLabel(name, 7, "human") for name in ids[:3]])
    return pathlib.Path(folder)


def forget_checksums(folder):
    """Makes the manifest one of before: it knows neither the checksum of itself nor those of the index."""
    path = pathlib.Path(folder, MANIFEST)
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in manifest.items() if name not in ("index", "sha256")}))


def replace_in_index(folder, old, new):
    """Changes a text of the index, of records of before, which do not tell its checksum."""
    forget_checksums(folder)
    path = pathlib.Path(folder, INDEX)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def without_counts(folder, known=()):
    """Makes the counts of the training images unknown, but for those with these ids; returns the folder."""
    forget_checksums(folder)
    path = pathlib.Path(folder, INDEX)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    lost = 0
    for row in rows:
        if row["split"] == "train" and row["id"] not in known:
            lost += int(row["points"])
            row |= {"labels": "none", "points": "0", "count": "nan"}
    with open(path, "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    path = pathlib.Path(folder, MANIFEST)
    manifest = json.loads(path.read_text())
    manifest["splits"]["train"]["points"] -= lost
    path.write_text(json.dumps(manifest))
    return folder
