import dataclasses
import json

import numpy as np

from tests.tfrecords_tools.writing.crowds import Crowd, crowds, write
from tfcount.records import schema
from tfcount.records.folder import INDEX, read_index
from tfrecords_tools.writing.plan import plan_shards
from tfrecords_tools.writing.shard import NOTE, read_finished, write_shard


def test_unknown_count_is_nan(tmp_path):
    class Unlabeled(Crowd):
        def load(self):
            loaded = super().load()
            return loaded._replace(image=dataclasses.replace(loaded.image, labels=schema.NONE))

    write(tmp_path / "out", {"train": [Unlabeled("a", 1, people=0)]})
    assert ",none,0,nan," in (tmp_path / "out" / INDEX).read_text()
    assert np.isnan(read_index(str(tmp_path / "out"), "train")[0].count)


def test_a_shard_that_was_finished_before_there_were_warnings_is_written_again(tmp_path):
    (shard,) = plan_shards({"train": crowds(2)})
    write_shard(str(tmp_path), shard, lambda: None)
    assert list(read_finished(str(tmp_path), [shard])) == [shard.path]
    note = tmp_path / (shard.path + NOTE)
    statistics = json.loads(note.read_text())
    del statistics["warnings"]
    note.write_text(json.dumps(statistics))
    assert read_finished(str(tmp_path), [shard]) == {}
