"""The generalized loss against an independent reading of the paper, in float64."""

import numpy as np
import pytest

from tests.losses.generalized_loss import (
    EPSILON,
    FLOOR,
    RHO,
    TAU,
    TIGHT,
    Paper,
    agrees,
    cells,
    crowd,
    ours,
    perspective,
)
from tfcount.losses.unbalanced_ot import UnbalancedOTLoss
from tfcount.ops.sinkhorn import unbalanced_sinkhorn


@pytest.mark.parametrize("people", [0, 1, 50])
@pytest.mark.parametrize("mass", [0.1, 1.0, 10.0])
def test_value_and_gradient_are_those_of_the_paper(people, mass, rng):
    points, density = crowd(rng, people)
    # The gradient is that on the right at zero, where finite differences see the kink; it is tested below.
    density *= mass
    reference = Paper(density.ravel(), perspective(points, 16, 12, 8))
    agrees(TIGHT, reference, points, density, np.arange(0, 192, 7))


def test_a_thousand_points(rng):
    points, density = crowd(rng, 1000, 64, 64)
    agrees(TIGHT, Paper(density.ravel(), perspective(points, 64, 64, 8)), points, density, rng.choice(4096, 5))


@pytest.mark.parametrize(
    "options",
    [
        {"terms": "transport,pixel,point"},
        {"terms": "transport,entropy,point"},
        {"terms": "transport,entropy,pixel"},
        {"terms": "entropy,pixel,point"},
        {"terms": "pixel"},
        {"pixel": "l1"},
        {"point": "l2"},
        {"pixel": "l1", "point": "l2"},
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_terms_and_divergences(options, rng):
    """Table 2 and Fig. 4d: the plan is always the same."""
    points, density = crowd(rng, 30)
    loss = UnbalancedOTLoss(tolerance=1e-3, max_iterations=1000, **options)
    agrees(
        loss, Paper(density.ravel(), perspective(points, 16, 12, 8), **options), points, density, np.arange(0, 192, 11)
    )


def test_the_height_is_that_in_the_image(rng):
    """A crop of the lower part is nearer to the camera; `image_height=False` takes it for a whole image."""
    points, density = crowd(rng, 30)
    span = (0.5, 0.75)
    settings = {"tolerance": 1e-3, "max_iterations": 1000}
    of_image = Paper(density.ravel(), perspective(points, 16, 12, 8, span=span))
    of_crop = Paper(density.ravel(), perspective(points, 16, 12, 8))
    agrees(TIGHT, of_image, points, density, [5, 90], span)
    agrees(UnbalancedOTLoss(image_height=False, **settings), of_crop, points, density, [5, 90], span)
    assert abs(of_image(density.ravel()) / of_crop(density.ravel()) - 1) > 0.01


def test_the_height_and_the_unit_of_maps_that_are_padded(rng):
    """Neither side is a multiple of that to which maps are padded; distances are shares of a side that is told."""
    points, density = crowd(rng, 20, 13, 9)
    for span, side in (((0.1, 0.9), None), ((0.5, 0.75), 200.0)):
        reference = Paper(density.ravel(), perspective(points, 13, 9, 8, span=span, side=side))
        agrees(TIGHT, reference, points, density, [0, 50, 116], span, side)


def test_no_density_is_drawn_to_the_points(rng):
    """At a density of zero the gradient is finite, pulls cells near points up, and is that on the right side."""
    points, density = crowd(rng, 20)
    density *= 0
    reference = Paper(density.ravel(), perspective(points, 16, 12, 8))
    value, gradient = ours(TIGHT, points, density)
    assert value == pytest.approx(reference(density.ravel()), rel=1e-3)
    # All people are missing.
    assert value == pytest.approx(TAU * 20, rel=0.01)
    nearest = np.argmin(perspective(points, 16, 12, 8), 0)
    assert np.all(np.isfinite(gradient)) and np.all(gradient[nearest] < 0)
    for index in nearest[:5]:
        moved = density.ravel().copy()
        moved[index] = 1e-11
        difference = (reference(moved) - reference(density.ravel())) / 1e-11
        assert gradient[index] == pytest.approx(difference, rel=5e-3)


def test_the_printed_cost_leaves_most_people_where_they_are():
    """A perfect map of 200 people: with Eq. (4) as printed, 1 where there is no distance, 73 are transported."""
    rng = np.random.default_rng(0)
    chosen = rng.choice(4096, 200, replace=False)
    points = cells(64, 64, 8)[chosen]
    density = np.bincount(chosen, minlength=4096).astype(float)
    b = np.ones((1, 200))
    transported = {}
    for shift in (0.0, 1.0):
        cost = perspective(points, 64, 64, 8, shift=shift)
        result = unbalanced_sinkhorn(density[None] + FLOOR, b, cost[None], EPSILON, RHO, max_iterations=1000)
        plan = np.exp((result.f.numpy()[0][:, None] + result.g.numpy()[0] - cost) / EPSILON)
        transported[shift] = plan.sum()
        # The loss of both forms, too.
        loss = UnbalancedOTLoss(shifted=shift == 1.0, tolerance=1e-4, max_iterations=1000)
        expected = Paper(density.ravel(), cost)(density.ravel())
        assert ours(loss, points, density.reshape(64, 64))[0] == pytest.approx(expected, rel=1e-3)
    assert transported[0.0] == pytest.approx(73, abs=1)
    assert transported[1.0] == pytest.approx(200, abs=2.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive and finite. Received: epsilon=0.0"),
        ({"tau": -1.0}, "`tau` must be positive and finite. Received: tau=-1.0"),
        ({"rho": float("nan")}, "`rho` must be positive"),
        ({"epsilon": float("inf")}, "Received: epsilon=inf"),
        ({"eta_far": 0.0}, "`eta_far` must be positive"),
        ({"cost": "manhattan"}, "`cost` must be one of .* Received: cost='manhattan'"),
        ({"pixel": "l3"}, "`pixel` must be one of .* Received: pixel='l3'"),
        ({"formulation": "fork"}, "`formulation` must be one of"),
        ({"terms": "transport,mass"}, "`terms` must be some of transport,entropy,pixel,point. Received:"),
        ({"terms": ""}, "`terms` must be some of"),
        ({"tolerance": 0.0}, "`tolerance` must be positive. Received: tolerance=0.0"),
        ({"max_iterations": 0}, "`max_iterations` must be at least 1. Received: max_iterations=0"),
    ],
)
def test_arguments_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        UnbalancedOTLoss(**options)
