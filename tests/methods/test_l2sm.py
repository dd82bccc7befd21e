import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.running import run_training
from tfcount import assembly, distribution
from tfcount.config import EncoderConfig, ExperimentConfig, TrainConfig
from tfcount.data.config import DataConfig
from tfcount.inference import CountingModel
from tfcount.losses import DENSITY_LOSSES
from tfcount.losses.density_l2 import DensityL2Loss
from tfcount.methods import l2sm
from tfcount.models import build_counter
from tfcount.models.l2sm import MULTIPLE, SCALES
from tfcount.ops.density import density_map
from tfcount.ops.divisions import choose_divisions, division_sums, inside_scaled, read_scaled
from tfcount.runs import LAST, Run

SIDE = 96


def build(**options):
    keras.utils.set_random_seed(0)
    config = l2sm.Config(**options)
    counter = build_counter("l2sm", encoder_name="compact", **config.counter_options())
    return l2sm.build(config, counter, DensityL2Loss)


def batch(rng, images=2, people=40):
    points = rng.uniform(0, SIDE, (images, people, 2)).astype("float32")
    # The upper left corner is empty, the lower right one full.
    points = SIDE * np.sqrt(points / SIDE)
    mask = np.ones((images, people), "float32")
    sigma = np.full((images, people), 4.0, "float32")
    return {
        "image": rng.integers(0, 256, (images, SIDE, SIDE, 3), dtype=np.uint8),
        "points": points,
        "point_mask": mask,
        "sigma": sigma,
        "span": np.tile(np.float32([0.25, 0.75]), (images, 1)),
        "density": density_map(points, mask, sigma, SIDE // 4, SIDE // 4, 4).numpy(),
        "count": mask.sum(-1),
    }


def prepared(rng, **options):
    method = build(**options)
    data = tf.data.Dataset.from_tensors(batch(rng)).repeat()
    method.prepare(data, 3)
    return method


class TestPrepare:
    def test_groups_are_equally_large_and_centers_increase(self, rng):
        method = prepared(rng)
        one = batch(np.random.default_rng(5))
        head = method.counter.head
        assert np.all(np.diff(head.boundaries) > 0) and np.all(np.diff(head.averages) > 0)
        assert np.all(np.diff(method.centers.centers) > 0)
        # Denser groups are enlarged more to reach their center.
        assert np.all(np.diff(head.averages / method.centers.centers.numpy()) > 0)
        groups = np.asarray(head.group(head.division_density(one["density"])))
        assert set(np.unique(groups)) == set(range(5))

    def test_limits_are_quantiles(self):
        head = build(groups=4, centers=2).counter.head
        head.set_groups(np.arange(8.0))
        np.testing.assert_allclose(head.boundaries, [1.5, 3.5, 5.5])
        np.testing.assert_allclose(head.averages, [4.5, 6.5])
        np.testing.assert_array_equal(head.group(np.array([0.0, 2.0, 3.6, 99.0], "float32")), [0, 1, 2, 3])
        np.testing.assert_array_equal(head.center_of(np.array([0, 1, 2, 3])), [-2, -1, 0, 1])

    def test_fewer_divisions_than_groups(self):
        with pytest.raises(ValueError, match="`groups`=5 is more than the number of divisions, 3"):
            build().counter.head.set_groups([1.0, 2.0, 3.0])


class TestTargets:
    @pytest.mark.parametrize("transform", [True, False])
    @pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
    def test_hold_the_people_of_their_divisions(self, rng, transform, factor):
        method, one = build(divisions=3, transform_targets=transform), batch(rng)
        chosen = choose_divisions(tf.ones([2, 3, 3], bool), tf.fill([2, 3, 3], factor), SIDE // 8, SIDE // 8)
        target = method._scaled_truth(one, chosen)["density"]
        assert not np.any(np.asarray(target) * (1 - np.asarray(inside_scaled(chosen))))
        for image in range(2):
            for row in range(3):
                for column in range(3):
                    index = np.flatnonzero(
                        (chosen.image == image) & (chosen.row == row) & (chosen.column == column)
                    ).item()
                    division = np.clip(one["points"][image] // (SIDE / 3), 0, 2)
                    people = np.sum((division[:, 0] == column) & (division[:, 1] == row))
                    if not transform:
                        people = one["density"][image, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8].sum()
                    assert np.sum(target[index]) == pytest.approx(people, rel=1e-4, abs=1e-4)

    def test_moved_heads_keep_their_peaks(self):
        """Twice the distance, the same kernel: the peak of a head in the middle of a division stays as high."""
        method = build(divisions=1)
        points = np.array([[[44.0, 44.0]]], "float32")
        one = {"points": points, "point_mask": np.ones((1, 1), "float32"), "sigma": np.full((1, 1), 6.0, "float32")}
        one["span"] = np.array([[0.0, 1.0]], "float32")
        one["density"] = density_map(points, one["point_mask"], one["sigma"], SIDE // 4, SIDE // 4, 4)
        peaks = []
        for factor in (1.0, 2.0):
            chosen = choose_divisions(tf.ones([1, 1, 1], bool), tf.fill([1, 1, 1], factor), SIDE // 8, SIDE // 8)
            target = np.asarray(method._scaled_truth(one, chosen)["density"])[0, ..., 0]
            peaks.append(target.max())
            row, column = np.unravel_index(target.argmax(), target.shape)
            assert abs(8 * (row + 0.5) - 44 * factor) <= 4 and abs(8 * (column + 0.5) - 44 * factor) <= 4
        # At 1 the head is at the center of a cell, at 2 at the corner of four.
        assert 0.5 < peaks[1] / peaks[0] < 1

    def test_scaled_divisions_know_their_place_in_the_image(self, rng):
        """The crop shows the part from 0.25 to 0.75 of an image: 96 pixels are 0.5 of it, a row of divisions 1 / 6.

        Row 1 of 3 begins at 0.25 + 1 / 6, and at twice the size ends where it did. Its points are at twice their
        distance from its corner; the unit of length stays the crop's side.
        """
        method, one = build(divisions=3), batch(rng)
        chosen = choose_divisions(tf.ones([2, 3, 3], bool), tf.fill([2, 3, 3], 2.0), SIDE // 8, SIDE // 8)
        scaled = method._scaled_truth(one, chosen)
        for index in np.flatnonzero(chosen.row == 1):
            np.testing.assert_allclose(scaled["span"][index], [0.25 + 1 / 6, 0.25 + 2 / 6], atol=1e-5)
        np.testing.assert_array_equal(scaled["side"], np.full(18, SIDE))
        index = np.flatnonzero((chosen.image == 1) & (chosen.row == 1) & (chosen.column == 2)).item()
        inside = np.asarray(scaled["point_mask"][index]) > 0
        np.testing.assert_allclose(
            scaled["points"][index][inside], 2 * (one["points"][1][inside] - [64, 32]), atol=1e-4
        )
        assert inside.sum() == pytest.approx(np.sum(scaled["density"][index]), rel=1e-4)


class TestLosses:
    @pytest.mark.parametrize("loss", ["bayesian", "dm_count", "unbalanced_ot"])
    def test_losses_of_points(self, loss, rng):
        config = l2sm.Config()
        names = ("divisions", "groups", "centers", "scaling")
        counter = build_counter("l2sm", encoder_name="compact", **{name: getattr(config, name) for name in names})
        method, one = l2sm.build(config, counter, DENSITY_LOSSES[loss]), batch(rng)
        method.prepare(tf.data.Dataset.from_tensors(one).repeat(), 1)
        losses = method.compute_losses(one, training=False)
        assert all(np.all(np.isfinite(values)) and np.all(np.asarray(values) > 0) for values in losses.values())
        with pytest.raises(ValueError, match="--l2sm_transform_targets=false enlarges target densities"):
            l2sm.build(l2sm.Config(transform_targets=False), counter, DENSITY_LOSSES[loss])

    def test_parts_and_their_shapes(self, rng):
        losses = prepared(rng).compute_losses(batch(rng), training=True)
        assert set(losses) == {"density", "rescaled", "center"}
        assert all(value.shape == (2,) and np.all(np.isfinite(value)) for value in losses.values())
        assert all(np.all(np.asarray(value) > 0) for value in losses.values())

    def test_weights(self, rng):
        plain = prepared(np.random.default_rng(1)).compute_losses(batch(rng), training=False)
        rng = np.random.default_rng(0)
        weighted = prepared(np.random.default_rng(1), rescaled_weight=3.0, center_weight=5.0)
        weighted = weighted.compute_losses(batch(rng), training=False)
        np.testing.assert_allclose(weighted["density"], plain["density"], rtol=1e-4)
        np.testing.assert_allclose(weighted["rescaled"], 3 * plain["rescaled"], rtol=1e-4)
        np.testing.assert_allclose(weighted["center"], 0.5 * plain["center"], rtol=1e-4)

    def test_centers_move_in_training_alone(self, rng):
        method = prepared(rng)
        before = method.centers.centers.numpy()
        method.compute_losses(batch(rng), training=False)
        np.testing.assert_array_equal(method.centers.centers, before)
        method.compute_losses(batch(rng), training=True)
        assert np.all(method.centers.centers.numpy() != before)

    def test_gradients(self, rng):
        """The center loss moves the factors and no density; the loss of scaled divisions moves the factors too."""
        method, one = prepared(rng), batch(rng)
        head = method.counter.head
        for part, elsewhere in (("center", head.first), ("rescaled", None)):
            with tf.GradientTape(persistent=True) as tape:
                loss = method.compute_losses(one, training=False)[part]
            factor = tape.gradient(loss, head.scale_layer.trainable_variables)
            assert all(np.any(gradient) for gradient in factor)
            if elsewhere:
                assert all(gradient is None for gradient in tape.gradient(loss, elsewhere.trainable_variables))

    @pytest.mark.parametrize("boundary", [np.inf, -1.0])
    def test_no_division_or_all_of_them(self, rng, boundary):
        method, one = prepared(rng), batch(rng)
        method.counter.head.boundaries.assign(np.full(4, boundary))
        with tf.GradientTape() as tape:
            losses = method.compute_losses(one, training=True)
            total = tf.add_n([tf.reduce_sum(value) for value in losses.values()])
        for gradient in tape.gradient(total, method.trainable_variables):
            assert gradient is None or np.all(np.isfinite(tf.convert_to_tensor(gradient)))
        assert bool(np.any(losses["rescaled"])) == (boundary < 0)
        density = method.counter(one["image"])
        assert np.all(np.isfinite(density))
        if boundary > 0:
            features = method.counter.features(one["image"])
            np.testing.assert_allclose(density, method.counter.head.first(features), rtol=1e-5)
        compiled = np.stack([CountingModel.of_counter(method.counter).density(image) for image in one["image"]])[
            ..., None
        ]
        np.testing.assert_allclose(compiled, density, rtol=1e-3, atol=1e-5)

    def test_images_without_people(self, rng):
        method, one = prepared(rng), batch(rng)
        one["point_mask"], one["density"] = 0 * one["point_mask"], 0 * one["density"]
        losses = method.compute_losses(one, training=True)
        assert not np.any(losses["rescaled"]) and not np.any(losses["center"])
        assert np.all(np.isfinite(losses["density"]))

    def test_scaling_to_the_average(self, rng):
        method = prepared(rng, scaling="average")
        assert set(method.compute_losses(batch(rng), training=True)) == {"density", "rescaled"}
        head = method.counter.head
        head.averages.assign([1.0, 4.0, 16.0])
        # Densities 4 and 36 in groups of averages 1 and 16: twice, and one and a half times as large.
        scales = head.scales(None, tf.constant([[[4.0, 36.0]]]), tf.constant([[[2, 4]]]))
        np.testing.assert_allclose(scales, [[[2.0, 1.5]]], rtol=1e-6)
        assert not any("scale/" in weight.path for weight in head.trainable_weights)


class TestCounter:
    def test_factors_start_at_one_and_a_half_within_their_limits(self, rng):
        method, one = prepared(rng), batch(rng)
        head, features = method.counter.head, method.counter.features(one["image"])
        scales = np.asarray(head.scales(features, None, None))
        assert scales.shape == (2, 4, 4) and np.all(np.abs(scales - 1.5) < 0.2)
        for weight, limit in ((100.0, SCALES[1]), (-100.0, SCALES[0])):
            head.scale_layer.bias.assign([weight])
            np.testing.assert_allclose(head.scales(features, None, None), limit, rtol=1e-5)

    def test_the_first_reprediction_convolution_commutes_with_the_enlargement(self, rng):
        """Enlarging all channels first, as in the paper, gives the same maps."""
        method, one = prepared(rng), batch(rng)
        head, features = method.counter.head, method.counter.features(one["image"])
        chosen = choose_divisions(tf.ones([2, 4, 4], bool), tf.fill([2, 4, 4], 1.4), SIDE // 8, SIDE // 8)
        base = features[..., : head.base_channels]
        late = head.reprediction[0](read_scaled(base, chosen, 1))
        early = read_scaled(head.reprediction[0](base), chosen, 1)
        # Beyond the margins of smaller divisions there is nothing to read; here all are equal.
        np.testing.assert_allclose(early, late, rtol=1e-4, atol=1e-5)

    def test_divisions_of_an_image_do_not_depend_on_the_others(self, rng):
        method, one = prepared(rng), batch(rng)
        together = np.asarray(method.counter(one["image"]))
        alone = np.concatenate([method.counter(image[None]) for image in one["image"]])
        np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("height, width", [(1, 1), (20, 9), (40, 15), (17, 300)])
    def test_images_with_fewer_cells_than_divisions(self, rng, height, width):
        method = prepared(rng)
        method.counter.head.boundaries.assign(np.full(4, -1.0))
        density = method.counter(rng.integers(0, 256, (1, height, width, 3), dtype=np.uint8))
        assert density.shape == (1, -(-height // 4), -(-width // 4), 1)
        assert np.all(np.isfinite(density))

    def test_replaced_divisions_hold_what_was_predicted_at_their_scale(self, rng):
        method, one = prepared(rng), batch(rng)
        head, features = method.counter.head, method.counter.features(one["image"])
        _, group, scales = head.survey(features)
        chosen = head.choose(features, group, scales)
        scaled = head.repredict(features, chosen)
        sums, _ = division_sums(head(features), 4, MULTIPLE)
        places = tf.stack([chosen.image, chosen.row, chosen.column], 1)
        np.testing.assert_allclose(tf.gather_nd(sums, places), np.sum(scaled, (1, 2, 3)), rtol=1e-3, atol=1e-4)

    def test_weights_without_boundaries(self, tmp_path, rng):
        path = str(tmp_path / "counter.weights.h5")
        build().counter.save_weights(path)
        with pytest.raises(ValueError, match=r"weights.h5 .*the boundaries of the density groups were never set"):
            assembly.load_weights(build().counter, path)
        prepared(rng).counter.save_weights(path)
        counter = build().counter
        assembly.load_weights(counter, path)
        assert np.all(np.isfinite(counter.head.boundaries))

    @pytest.mark.parametrize(
        "options, message",
        [
            ({"centers": 6}, "`centers` must be between 1 and `groups`=5. Received: 6"),
            ({"centers": 0}, "`centers` must be between 1"),
            ({"divisions": 0}, "`divisions` and `groups` must be at least 1"),
            ({"scaling": "centre"}, "`scaling` must be 'center' or 'average'. Received: 'centre'"),
            ({"center_weight": -1.0}, "--l2sm_center_weight must be at least 0"),
            ({"center_rate": 2.0}, "--l2sm_center_rate must be between 0 and 1"),
        ],
    )
    def test_numbers_that_do_not_fit(self, options, message):
        with pytest.raises(ValueError, match=message):
            build(**options)


class TestRun:
    @staticmethod
    def config(crowds, **changes):
        whole = ExperimentConfig(
            method="l2sm",
            counter="l2sm",
            data=DataConfig(dir=crowds, crop=64, validation_fraction=0.25),
            encoder=EncoderConfig(name="compact"),
            train=TrainConfig(steps=4, batch_size=2, warmup_steps=0, validation_interval=2, ema=0.5),
        )
        return dataclasses.replace(whole, **changes)

    def test_trained_saved_and_resumed(self, crowds, tmp_path):
        whole, folder = self.config(crowds), str(tmp_path / "run")
        assert run_training(whole, folder) == 0
        counter, _ = Run(folder).load_counter()
        assert Run(folder).config() == whole
        assert np.all(np.isfinite(counter.head.boundaries))
        assert run_training(whole, folder, resume=True) == 0
        tags = set()
        for path in (tmp_path / "run" / "tensorboard").iterdir():
            for event in tf.compat.v1.train.summary_iterator(str(path)):
                tags |= {value.tag for value in event.summary.value}
        assert {"scaling/0", "scaling/factors", "scaling/chosen_unlike_target", "scaling/center_2"} <= tags

    def test_two_replicas_train_like_one(self, crowds, tmp_path, monkeypatch, two_replicas):
        """Losses, of which one follows the centers, and weights, which move by far more than they may differ.

        With plain gradient descent: Adam makes of a gradient of nearly zero a step of either sign.
        """
        train = TrainConfig(
            steps=4, batch_size=2, warmup_steps=0, validation_interval=1, ema=0.0, optimizer="sgd", learning_rate=1e-4
        )
        whole = self.config(crowds, train=train, options=l2sm.Config(center_rate=0.5))
        validations, counters = [], []
        for name, strategy in (("one", tf.distribute.get_strategy()), ("two", two_replicas)):
            monkeypatch.setattr(distribution, "strategy", lambda strategy=strategy: strategy)
            assert run_training(whole, str(tmp_path / name)) == 0
            validations.append(Run(str(tmp_path / name)).notes()["validation"])
            counters.append(build_counter("l2sm", encoder_name="compact"))
            counters[-1].load_weights(str(tmp_path / name / LAST))
        for one, two in zip(*validations, strict=True):
            for part in ("density", "rescaled", "center"):
                assert two[part] == pytest.approx(one[part], rel=1e-3), part
        first, last = (validations[0][index]["center"] for index in (0, -1))
        assert first > 1.2 * last or last > 1.2 * first
        keras.utils.set_random_seed(whole.seed)
        start = build_counter("l2sm", encoder_name="compact")
        moved = 0
        for before, one, two in zip(*(counter.weights for counter in (start, *counters)), strict=True):
            distance = float(np.max(np.abs(one - before)))
            if np.isfinite(distance):
                assert np.max(np.abs(one - two)) <= 0.02 * distance + 1e-6, one.path
                moved += distance > 1e-4
        assert moved > 10

    def test_crops_without_rest(self, crowds, tmp_path):
        whole = self.config(crowds, data=DataConfig(dir=crowds, crop=100))
        with pytest.raises(ValueError, match="--method=l2sm needs --data_crop to be a multiple of 16. Received: 100"):
            run_training(whole, str(tmp_path / "run"))

    def test_all_images_are_looked_at_for_the_groups(self, crowds, tmp_path, monkeypatch):
        data = DataConfig(dir=crowds, crop=0, division=2, validation_fraction=0.0)
        whole = self.config(crowds, data=data, train=TrainConfig(steps=1, batch_size=4))
        seen = []
        monkeypatch.setattr(l2sm.L2SM, "prepare", lambda self, dataset, batches: seen.append(batches))
        run_training(whole, str(tmp_path / "run"))
        assert seen == [12]

    def test_nothing_to_draw(self, rng):
        prepared(rng).write_summaries([])

    def test_counter_and_method_belong_together(self, crowds, tmp_path):
        with pytest.raises(ValueError, match="--counter=l2sm is trained with --method=l2sm"):
            run_training(self.config(crowds, method="supervised", options=None), str(tmp_path / "run"))
        with pytest.raises(ValueError, match="--method=l2sm trains --counter=l2sm. Received: 'spn'"):
            run_training(self.config(crowds, counter="spn"), str(tmp_path / "run"))

    def test_encoders(self, crowds):
        with pytest.raises(ValueError, match="--encoder_name must be one of"):
            self.config(crowds, encoder=EncoderConfig(name="resnet"))
        wrong = self.config(crowds, counter="resnet50", encoder=EncoderConfig(name="compact"))
        with pytest.raises(ValueError, match="--encoder_name=compact: counter 'resnet50' has no choice of encoders"):
            assembly.build_counter(wrong)
