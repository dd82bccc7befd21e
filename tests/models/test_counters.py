import inspect

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcount.inference import CountingModel
from tfcount.models import COUNTERS, build_counter, encoders
from tfcount.ops.tiling import density_in_tiles


def from_random_weights(name):
    has_encoder = "encoder_weights" in inspect.signature(COUNTERS[name]).parameters
    counter = build_counter(name, **({"encoder_weights": "none"} if has_encoder else {}))
    if name == "l2sm":
        counter.head.set_groups(np.linspace(0, 1, 10))
    return counter


@pytest.fixture
def local(counter):
    """The counter without what it makes of means over the whole image, and of divisions of it."""
    before = counter.get_weights()
    if counter.pools_image:
        for stage in range(1, 6):
            layer = counter.fuse.get_layer(f"stage{stage}")
            layer.set_weights([0 * weight for weight in layer.get_weights()])
    if counter.name == "l2sm":
        counter.head.boundaries.assign(np.full(4, np.inf))
    yield counter
    counter.set_weights(before)


@pytest.fixture(scope="module", params=sorted(COUNTERS))
def counter(request):
    keras.utils.set_random_seed(0)
    return from_random_weights(request.param)


@pytest.mark.parametrize("height, width", [(1, 1), (33, 50), (64, 96), (100, 61)])
def test_any_size(counter, rng, height, width):
    images = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    density = counter(images)
    rows, columns = -(-height // counter.stride), -(-width // counter.stride)
    assert density.shape == (2, rows, columns, 1)
    assert density.dtype == "float32"
    assert np.min(density) >= 0


def test_any_size_of_image_is_counted_as_it_would_be_alone(counter, rng):
    model = CountingModel.of_counter(counter)
    for height, width in ((16, 24), (40, 33), (24, 16)):
        images = rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        np.testing.assert_allclose(model.density(images[0]), counter(images)[0, ..., 0], rtol=1e-3, atol=1e-5)


def test_tiles_give_the_density_of_the_whole(local, rng):
    images = rng.integers(0, 256, (1, 40, 500, 3), dtype=np.uint8)
    tiled = density_in_tiles(local, images, local.stride, local.reach, tile=64)
    whole = np.asarray(local(images))
    np.testing.assert_allclose(tiled, whole, rtol=1e-3, atol=1e-5 * max(whole.max(), 1))


def test_what_the_encoder_gives_stands_for_images(counter, rng):
    images = rng.integers(0, 256, (2, 32, 64, 3), dtype=np.uint8)
    maps = tuple(tf.nest.flatten(counter.encoder(images)))
    np.testing.assert_allclose(counter(maps), counter(images), rtol=1e-4, atol=1e-6)


def test_head_of_features(counter, rng):
    images = rng.integers(0, 256, (1, 32, 48, 3), dtype=np.uint8)
    np.testing.assert_allclose(counter.head(counter.features(images)), counter(images), rtol=1e-4, atol=1e-6)


def test_reach(local, rng):
    check_reach(local, rng)


def check_reach(counter, rng):
    """The gradient of a cell ends within `reach` of it, and not much before: all weights are made positive for that.

    They are random: equal ones are nothing once a kernel is standardized.
    """
    for weight in counter.weights:
        if weight.path.startswith("stage"):
            continue
        if len(weight.shape) == 4:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape) / np.prod(weight.shape[:3]))
        elif weight.name in ("bias", "gamma"):
            weight.assign(np.ones(weight.shape))
    # A strip is enough: what holds for columns holds for rows.
    images, reached = tf.fill([1, 16, 512, 3], 200.0), []
    for column in range(256 // counter.stride, 256 // counter.stride + 4):
        with tf.GradientTape() as tape:
            tape.watch(images)
            cell = counter(images)[0, 0, column, 0]
        columns = np.flatnonzero(np.abs(tape.gradient(cell, images)).sum((0, 1, 3)))
        reached += [column * counter.stride - columns[0], columns[-1] + 1 - (column + 1) * counter.stride]
    assert counter.reach - 16 <= max(reached) <= counter.reach


@pytest.mark.parametrize("name", ["compact", "resnet50"])
def test_reach_with_other_encoders(name, rng):
    counter = build_counter("spn", encoder_name=name, encoder_weights="none")
    for weight in counter.fuse.weights:
        if weight.path.startswith("stage"):
            weight.assign(0 * weight)
    check_reach(counter, rng)


def test_weights_are_saved_and_read(counter, tmp_path, rng):
    path = str(tmp_path / "counter.weights.h5")
    counter.save_weights(path)
    keras.utils.set_random_seed(1)
    other = from_random_weights(counter.name)
    other.load_weights(path)
    images = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_array_equal(other(images), counter(images))


@pytest.mark.parametrize("name", sorted(COUNTERS))
def test_sixteen_bits(name, rng):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        counter = from_random_weights(name)
    finally:
        keras.config.set_dtype_policy(before)
    images = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    assert counter(images).dtype == "float32"
    assert all(weight.dtype == "float32" for weight in counter.weights)
    assert counter.features(images).dtype == "bfloat16"


def test_grey_weights_of_mcnn():
    """0.299 * 100 + 0.587 * 50 + 0.114 * 200 = 82.05."""
    encoder = build_counter("mcnn").encoder
    grey = encoder.get_layer("preprocess")(np.array([[[[100, 50, 200]]]], np.uint8))
    assert grey.shape == (1, 4, 4, 1)
    np.testing.assert_allclose(grey[0, 0, 0, 0], 82.05, rtol=1e-5)


def test_imagenet_preprocessing():
    """Blue first, minus the mean: 10 - 103.939, 20 - 116.779, 30 - 123.68; zeros at the bottom and right."""
    prepared = np.asarray(encoders.ImageNetPreprocessing(8)(np.array([[[[30, 20, 10]]]], np.uint8)))
    assert prepared.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(prepared[0, 0, 0], [-93.939, -96.779, -93.68], rtol=1e-5)
    assert not prepared[0, 1:].any() and not prepared[0, :, 1:].any()


@pytest.mark.parametrize(
    "build, application, cuts",
    [
        (encoders.resnet50, "ResNet50", ["conv3_block4_out", "conv4_block6_out"]),
        (lambda weights: encoders.vgg("vgg16", 4, weights), "VGG16", ["block4_conv3"]),
    ],
)
def test_encoder_equals_keras_applications(build, application, cuts, tmp_path, rng):
    """With the same weights file, and statistics of batch normalization that are not those of a new network."""
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, application)(include_top=False, weights=None)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    path = str(tmp_path / "weights.h5")
    # Keras 3 reads classic weights files but writes only whole models in that format, whose groups are the same.
    model.save(path)
    reference = keras.Model(model.input, [model.get_layer(name).output for name in cuts])
    images = rng.normal(0, 50, (1, 32, 48, 3)).astype("float32")
    expected = reference(images, training=False)
    result = build(path)(images)
    for one, other in zip(keras.tree.flatten(result), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())


def test_frozen_normalization_has_the_gradients_of_batch_normalization(rng):
    layer = encoders.FrozenNormalizedConvolution(4, 3)
    images = rng.normal(size=(2, 5, 5, 3)).astype("float32")
    layer(images)
    layer.set_weights([rng.uniform(0.5, 1.5, weight.shape) for weight in layer.weights])
    convolution = keras.layers.Conv2D(4, 3, padding="same")
    normalization = keras.layers.BatchNormalization(epsilon=1.001e-5)
    normalization(convolution(images))
    kernel, bias, gamma, beta, mean, variance = layer.get_weights()
    convolution.set_weights([kernel, bias])
    normalization.set_weights([gamma, beta, mean, variance])

    import tensorflow as tf

    with tf.GradientTape(persistent=True) as tape:
        ours = tf.reduce_sum(tf.sin(layer(images)))
        theirs = tf.reduce_sum(tf.sin(normalization(convolution(images), training=False)))
    assert float(ours) == pytest.approx(float(theirs), rel=1e-4)
    variables = layer.trainable_variables
    others = [*convolution.trainable_variables, *normalization.trainable_variables]
    for one, other in zip(tape.gradient(ours, variables), tape.gradient(theirs, others), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_missing_weights_file():
    with pytest.raises(
        FileNotFoundError, match=r"`encoder_weights` must be 'imagenet', 'none' or an existing .h5 file"
    ):
        build_counter("resnet50", encoder_weights="no/such.h5")


def test_file_that_is_no_weights_file(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match="is not a readable HDF5 file"):
        build_counter("resnet50", encoder_weights=str(path))


def test_weights_of_another_network(tmp_path):
    path = str(tmp_path / "weights.h5")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match="has no weights for layer 'block1_conv1' of VGG16"):
        build_counter("csrnet", encoder_weights=path)


def test_weights_that_cannot_be_downloaded(monkeypatch):
    def fail(**kwargs):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG16", type("VGG16", (), {"__new__": lambda cls, **kwargs: fail()}))
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded .*`encoder_weights`=PATH"):
        build_counter("csrnet")


def test_unknown_counter_and_option():
    with pytest.raises(ValueError, match=r"`name` must be one of .*'mcnn'.* Received: 'mcn'"):
        build_counter("mcn")
    with pytest.raises(ValueError, match="Counter 'mcnn' has no option 'encoder_weights'"):
        build_counter("mcnn", encoder_weights="none")
