"""Crowd counting with the labels people can afford, on TensorFlow and Keras.

>>> import tfcount
>>> tfcount.load("runs/recipe/full_sha").count("picture.jpg")
"""

import importlib.metadata

__all__ = ["load"]


def __getattr__(name):
    """Imports what is used when it is first used: commands answer before TensorFlow is there."""
    if name == "load":
        from tfcount.serving.savedmodel import load

        return load
    if name == "__version__":
        return importlib.metadata.version("tfcount")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
