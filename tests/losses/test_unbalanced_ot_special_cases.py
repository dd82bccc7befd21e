"""Losses that are special cases of the generalized loss."""

import numpy as np
import pytest

from tests.losses.generalized_loss import cells, crowd, equation_1
from tfcount.losses.bayesian import BayesianLoss
from tfcount.losses.density_l2 import DensityL2Loss


class TestSpecialCases:
    """Section 4: both losses are Eq. (1) with plans of half an iteration, `K = exp(-C / epsilon)`, C squared."""

    SIGMA = 12.0

    def problem(self, rng):
        """Points, density, squared distances and kernel in units of the longer side; epsilon is 2 sigma ** 2."""
        points, density = crowd(rng, 25)
        points = np.clip(points, 0, [96, 128])
        side = 128.0
        cost = ((cells(16, 12, 8)[:, None] - points[None]) ** 2).sum(-1) / side**2
        return points, density, cost, np.exp(-cost / (2 * self.SIGMA**2 / side**2))

    def test_l2(self, rng):
        """Eq. (11), (12): u is uniform, the plan `K_ij / sum_i K_ij`, and only the pixel term depends on a."""
        _, density, cost, kernel = self.problem(rng)
        plan = kernel / kernel.sum(0)
        a, b = density.ravel(), np.ones(25)
        whole = equation_1(plan, cost, a, b, tau=1.0)
        constant = equation_1(plan, cost, a, b, tau=1.0, terms="transport,entropy")
        target = plan.sum(1).reshape(1, 16, 12, 1)
        expected = 2 * DensityL2Loss().call({"density": target}, density[None, ..., None])
        assert whole - constant == pytest.approx(float(expected[0]), rel=1e-10)

    def test_bayesian(self, rng):
        """Eq. (14): v is uniform, the plan `a_i K_ij / sum_j K_ij`; without background the cost is zero."""
        points, density, _, kernel = self.problem(rng)
        a, b = density.ravel(), np.ones(25)
        plan = kernel / kernel.sum(1, keepdims=True) * a[:, None]
        whole = equation_1(plan, 0.0, a, b, tau=1.0, terms="transport,pixel,point")
        y_true = {"points": np.float32(points)[None], "point_mask": np.ones((1, 25), "float32")}
        loss = BayesianLoss(sigma=self.SIGMA, background=0.0).call(y_true, np.float32(density)[None, ..., None])
        assert whole == pytest.approx(float(loss[0]), rel=1e-5)
