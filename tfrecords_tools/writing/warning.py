"""Makes sentences of what may be wrong with the images of a data set."""

from collections.abc import Mapping, Sequence

from tfrecords_tools.writing.plan import ImageWarning, Shard


def describe_warnings(shards: Sequence[Shard], statistics: Mapping[str, dict], splits: Mapping[str, dict]) -> list[str]:
    """Returns a sentence for all images of a split of which the same is said, with the first of them.

    Args:
      shards: all of them, in order.
      statistics: of every shard, by its name; see `write_shard`.
      splits: of the manifest.
    """
    said: dict[tuple[str, str], list[ImageWarning]] = {}
    for shard in shards:
        for values in statistics[shard.path]["warnings"]:
            warning = ImageWarning(*values)
            said.setdefault((shard.split, warning.text), []).append(warning)
    sentences = []
    for (split, text), warnings in said.items():
        stated = splits[split]
        number = sum(warning.number for warning in warnings)
        what = text.format(number=number, points=stated["points"] + stated["points_dropped"])
        # Shards hold images in no order that anybody knows.
        first = min(warning.detail for warning in warnings)
        sentences.append(f"{split}: {len(warnings):,} of {stated['images']:,} images {what} (first: {first}).")
    return sentences
