import dataclasses

import numpy as np

from tests.tfrecords_tools.writing.crowds import Crowd, write
from tfcount.records import schema
from tfcount.records.folder import INDEX, read_index


def test_unknown_count_is_nan(tmp_path):
    class Unlabeled(Crowd):
        def load(self):
            loaded = super().load()
            return loaded._replace(image=dataclasses.replace(loaded.image, labels=schema.NONE))

    write(tmp_path / "out", {"train": [Unlabeled("a", 1, people=0)]})
    assert ",none,0,nan," in (tmp_path / "out" / INDEX).read_text()
    assert np.isnan(read_index(str(tmp_path / "out"), "train")[0].count)
