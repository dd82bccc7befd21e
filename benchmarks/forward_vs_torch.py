"""The forward pass of our CSRNet against the same network in PyTorch, on the same threads.

ratio: seconds of ours over PyTorch's, float32, the faster of its two memory layouts; at most 1.
"""

import os

from measuring import finish, medians
import numpy as np
import tensorflow as tf
import torch


from tfcount import assembly
from tfcount.models import build_counter

HEIGHT, WIDTH = 384, 512
REPEATS = 15
# Filters of the ten convolutions of VGG16, "pool" between its stages, and of the six dilated ones.
FRONT = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512)
BACK = (512, 512, 512, 256, 128, 64)


def torch_csrnet():
    """Builds CSRNet (Li et al., 2018, configuration B) as its public code does."""
    layers: list[torch.nn.Module] = []
    channels = 3
    for filters in FRONT:
        if filters == "pool":
            layers.append(torch.nn.MaxPool2d(2))
            continue
        layers += [torch.nn.Conv2d(channels, filters, 3, padding=1), torch.nn.ReLU(inplace=True)]
        channels = filters
    for filters in BACK:
        layers += [torch.nn.Conv2d(channels, filters, 3, padding=2, dilation=2), torch.nn.ReLU(inplace=True)]
        channels = filters
    layers += [torch.nn.Conv2d(channels, 1, 1), torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*layers).eval()


def main():
    """Measures, checks that both give the same, prints a table and the result."""
    torch.set_num_threads(os.cpu_count())
    counters, forwards = {}, {}
    for precision in ("float32", "mixed_bfloat16"):
        with assembly.precision(precision):
            counters[precision] = build_counter("csrnet", encoder_weights="none")
    counter = counters["float32"]
    # He's variance, so that signals neither vanish nor grow through 17 layers, and the counts are not all zero.
    generator = np.random.default_rng(0)
    for weight in counter.weights:
        scale = np.sqrt(2 / np.prod(weight.shape[:-1])) if len(weight.shape) == 4 else 0.0
        weight.assign(scale * generator.standard_normal(weight.shape))
    counters["mixed_bfloat16"].set_weights(counter.get_weights())
    for name, value in counters.items():
        forwards[name] = tf.function(lambda images, value=value: value(images, training=False))

    network = torch_csrnet()
    kernels, biases = counter.get_weights()[::2], counter.get_weights()[1::2]
    convolutions = [layer for layer in network if isinstance(layer, torch.nn.Conv2d)]
    for layer, kernel, bias in zip(convolutions, kernels, biases, strict=True):
        layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.from_numpy(bias.copy())

    image = generator.integers(0, 256, (1, HEIGHT, WIDTH, 3), dtype=np.uint8)
    prepared = np.asarray(counter.encoder.get_layer("preprocess")(image)).transpose(0, 3, 1, 2).copy()
    planes = torch.from_numpy(prepared)
    last = planes.contiguous(memory_format=torch.channels_last)
    network_last = torch_csrnet()
    network_last.load_state_dict(network.state_dict())
    network_last = network_last.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        theirs = network(planes).numpy()[:, 0, ..., None]
        ours = forwards["float32"](image).numpy()
        if np.abs(ours - theirs).max() > 1e-3 * np.abs(theirs).max():
            raise SystemExit("The two networks do not give the same.")
        seconds = medians(
            {
                "ours, float32": lambda: forwards["float32"](image).numpy(),
                "ours, mixed_bfloat16": lambda: forwards["mixed_bfloat16"](image).numpy(),
                "PyTorch, channels first": lambda: network(planes).numpy(),
                "PyTorch, channels last": lambda: network_last(last).numpy(),
            },
            REPEATS,
        )
    title = f"CSRNet forward, {WIDTH} x {HEIGHT}, {os.cpu_count()} threads"
    print(f"{title}, PyTorch {torch.__version__}, median of {REPEATS}")
    for name, value in seconds.items():
        print(f"{name:<25}{value:>8.3f} s")
    half = forwards["mixed_bfloat16"](image).numpy().sum()
    print(f"count in float32 {ours.sum():.2f}, in mixed_bfloat16 {half:.2f}: {half / ours.sum() - 1:+.2%}")
    best = min(value for name, value in seconds.items() if name.startswith("PyTorch"))
    finish(seconds["ours, float32"] / best, 1.0, largest=True)


if __name__ == "__main__":
    main()
