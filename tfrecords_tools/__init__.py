"""Makes records of data sets: the only code that knows their formats on disk."""
