"""Density targets of the training images against the usual SciPy code, which filters an image for every head.

ratio: seconds of SciPy over ours, for all heads of some images; at least 200. Heads are filtered on whole images, which
takes SciPy equally long for each, so that a few of them tell the time of all.
"""

from measuring import finish, medians, records
import numpy as np
import tensorflow as tf
from scipy.ndimage import gaussian_filter

from tfcount.data.streams.evaluation import whole_images
from tfcount.records.folder import Records
from tfcount.ops.density import adaptive_sigma, density_map

IMAGES = 3
HEADS = 10
STRIDE = 8


def scipy_density(points, sigma, height, width):
    """Adds up one filtered image a head, as the public code for MCNN and CSRNet does; points are cut to integers."""
    density = np.zeros((height, width), np.float32)
    for (x, y), width_of_kernel in zip(points, sigma, strict=True):
        impulse = np.zeros((height, width), np.float32)
        impulse[int(y), int(x)] = 1
        density += gaussian_filter(impulse, width_of_kernel, mode="constant")
    return density


@tf.function(reduce_retracing=True)
def our_density(points, height, width):
    """The target of a whole image, its adaptive sigma included."""
    sigma = adaptive_sigma(points)
    return density_map(points[None], tf.ones_like(sigma)[None], sigma[None], height, width, STRIDE)


def main():
    """Measures, prints a table and the result."""
    slow, fast, worst = 0.0, 0.0, 0.0
    print(f"{'image':<12}{'heads':>6}{'SciPy s':>10}{'ours s':>10}{'ratio':>9}{'largest difference':>20}")
    for example in whole_images(Records.open(records(), "train")).take(IMAGES):
        height, width = example["image"].shape[:2]
        points = example["points"]
        sigma = adaptive_sigma(points).numpy()
        rows, columns = -(-height // STRIDE), -(-width // STRIDE)
        # Away from borders, where SciPy loses mass, and at the centers of pixels, which it takes heads to be at.
        centers = np.floor(points.numpy()) + 0.5
        margin = np.minimum(centers, [width, height] - centers).min(-1)
        chosen = np.flatnonzero(margin > 5 * sigma)[:HEADS]
        few, few_sigma = centers[chosen], sigma[chosen]
        seconds = medians(
            {
                "SciPy": lambda few=few, s=few_sigma, h=height, w=width: scipy_density(few, s, h, w),
                "ours": lambda p=points, r=rows, c=columns: our_density(p, r, c).numpy(),
            },
            repeats=3,
            warmup=1,
        )
        usual = seconds["SciPy"] / len(chosen) * len(points)
        pixels = scipy_density(few, few_sigma, rows * STRIDE, columns * STRIDE)
        cells = pixels.reshape(rows, STRIDE, columns, STRIDE).sum((1, 3))
        # A pixel of SciPy's is a sample of the Gaussian, ours its integral: that of one narrower by 1 / 12 of a pixel.
        narrower = np.sqrt(few_sigma**2 - 1 / 12).astype(np.float32)
        few = few.astype(np.float32)
        ours = density_map(few[None], np.ones_like(narrower)[None], narrower[None], rows, columns, STRIDE)[0, ..., 0]
        difference = float(np.abs(ours - cells).sum() / len(chosen))
        worst, slow, fast = max(worst, difference), slow + usual, fast + seconds["ours"]
        identity = example["id"].numpy().decode()
        print(
            f"{identity:<12}{len(points):>6}{usual:>10.2f}{seconds['ours']:>10.4f}{usual / seconds['ours']:>9.0f}"
            f"{difference:>20.1e}"
        )
    print("largest difference: sum over cells of |ours - SciPy|, share of the mass, heads away from borders")
    if worst > 1e-3:
        raise SystemExit(f"The maps differ by {worst:.1e} of the mass, more than 1e-3.")
    finish(slow / fast, 200, largest=False)


if __name__ == "__main__":
    main()
