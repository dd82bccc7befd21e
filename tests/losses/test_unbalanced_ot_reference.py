"""The reference formulation of the generalized loss against an independent reading of the authors' code, in float64."""

import numpy as np
import pytest

from tests.losses.generalized_loss import REFERENCE, Reference, agrees, crowd, ours, perspective


@pytest.mark.parametrize("people", [1, 40])
@pytest.mark.parametrize("mass", [0.2, 1.0, 5.0])
def test_the_reference_formulation_is_that_of_the_authors_code(people, mass, rng):
    """At converged potentials: the code stops before."""
    points, density = crowd(rng, people)
    density *= mass
    settings = {"epsilon": 0.01, "tau": 0.1, "rho": 0.5}
    cost = perspective(points, 16, 12, 8, eta=(0.5, 0.7))
    reference = Reference(density.ravel(), cost, more=4000, **settings)
    agrees(REFERENCE, reference, points, density, np.arange(0, 192, 7))
    # Its own number of iterations, ten for a map of 512 pixels.
    assert Reference(density.ravel(), cost, more=0, **settings).iterations == 10


def test_the_reference_formulation_of_nobody(rng):
    """1.2 times the density: once, and twice with tau = 0.1."""
    density = rng.uniform(0, 1, (4, 4))
    value, gradient = ours(REFERENCE, np.zeros((0, 2)), density)
    assert value == pytest.approx(1.2 * density.sum(), rel=1e-5)
    np.testing.assert_allclose(gradient, 1.2, rtol=1e-6)
