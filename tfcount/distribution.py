"""Devices: the strategy that trains on all of them, and what they are called."""

import contextlib
import functools
import platform

import tensorflow as tf


@functools.cache
def strategy() -> tf.distribute.Strategy:
    """Returns the strategy over all devices; there is one a process, two would collide."""
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def device_name() -> str:
    """Returns the name of the graphics card, or of the processor where there is none."""
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "CPU"
