"""Damaged data sets of every format are read, or refused with an error that names a file; nothing else happens.

A few damages of each format are tried at every run of the tests; `make fuzz` tries others for a minute a format.
"""

import itertools
import tempfile
import time
from pathlib import Path

import hypothesis
import pytest

from tests.tfrecords_tools.annotations import mutations
from tfrecords_tools.annotations import matlab

EXAMPLES = 12
SECONDS = 60


@pytest.fixture(scope="module", params=mutations.FORMATS)
def damaged(request, tmp_path_factory):
    """A function that damages a small data set, given what to do, and reads it."""
    dataset, save = mutations.FORMATS[request.param]
    root = tmp_path_factory.mktemp(request.param)
    save(root)
    tree = mutations.read_tree(root)
    assert mutations.read_all(dataset, root)

    def read(changes):
        with tempfile.TemporaryDirectory() as folder:
            mutations.write_tree(Path(folder), mutations.mutate(tree, changes))
            started = time.monotonic()
            try:
                mutations.read_all(dataset, folder)
            except (ValueError, OSError) as error:
                assert folder in str(error), f"{error!r} names no file"
            assert time.monotonic() - started < 2 * matlab.MOST_SECONDS

    return read


def examples(number, seed):
    settings = hypothesis.settings(
        max_examples=number, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
    )
    return lambda test: settings(hypothesis.seed(seed)(hypothesis.given(changes=mutations.MUTATIONS)(test)))


def test_damaged(damaged, monkeypatch):
    monkeypatch.setattr(matlab, "MOST_SECONDS", 10)
    examples(EXAMPLES, 0)(lambda changes: damaged(changes))()


@pytest.mark.fuzz
def test_damaged_for_long(damaged, monkeypatch):
    monkeypatch.setattr(matlab, "MOST_SECONDS", 10)
    started, tried = time.monotonic(), 0
    for seed in itertools.count(1):
        examples(200, seed)(lambda changes: damaged(changes))()
        tried += 200
        if time.monotonic() - started > SECONDS:
            break
    print(f"{tried} damaged data sets")  # noqa: T201
