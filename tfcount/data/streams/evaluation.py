"""The stream of whole images that are counted and compared with what is known of them."""

import tensorflow as tf

from tfcount.records import schema
from tfcount.records.folder import Records
from tfcount.records.images import decode_image


def whole_images(records: Records) -> tf.data.Dataset:
    """Returns the whole images of the records, in the order of the index.

    Each element is a dict: `id` (scalar string), `image` (height, width, 3) uint8, `points` (n, 2), (x, y) in its
    pixels, `boxes` (n, 4), (left, top, right, bottom) in its pixels, or (0, 4) where there are none, `count` (scalar
    float32, NaN where it is unknown) and `labels` (scalar string, one of `schema.LABELS`).
    """

    def read(serialized):
        record = schema.parse_image(serialized)
        image = decode_image(record["image"])
        return {"image": image, **{name: record[name] for name in ("id", "points", "boxes", "count", "labels")}}

    return records.serialized().map(read, num_parallel_calls=2, deterministic=True).prefetch(2)
