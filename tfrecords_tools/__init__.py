"""Makes records of data sets: the only code that knows their formats on disk."""

# Before any other import of TensorFlow.
from tfcount.banner import import_tensorflow

import_tensorflow()
