"""Makes records of data sets: the only code that knows their formats on disk."""

# Before any other import of TensorFlow, whose banner tfcount hides.
import tfcount.records.schema  # noqa: F401
