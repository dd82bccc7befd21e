"""Streams: from records to the batches that a method trains on, and to the images that are evaluated."""
