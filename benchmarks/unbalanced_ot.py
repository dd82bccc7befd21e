"""The generalized loss, value and gradient, for a crop of 512 x 512 pixels (64 x 64 cells) against what people use.

ratio: seconds of the authors' formulation in PyTorch with geomloss, in its own ten iterations, over ours, with the same
epsilon, cost and terms, iterated until our largest fixed-point residual is that which geomloss has reached, with 1,000
points; at least 5. Both have the same two threads and the same density.

Beside it: the solver of POT alone, for as many iterations as ours; the paper's formulation until its value is 1e-3 from
the converged one, plain and over-relaxed, and at the tolerance of training; memory.
"""

import os

from measuring import finish, medians, resident
import geomloss
import numpy as np
import ot
import tensorflow as tf
import torch

from tfcount.losses.unbalanced_ot import UnbalancedOTLoss
from tfcount.ops.sinkhorn import unbalanced_sinkhorn
from tfcount.ops.transport_cost import transport_cost

CELLS, STRIDE = 64, 8
# Of the map and the crowd whose memory is measured: one matrix takes 268 MB.
MEMORY_CELLS, MEMORY_POINTS = 128, 4096
POINTS = (50, 500, 1000, 2000)
MEASURED = 1000
BOUND = 5.0
REPEATS = 7
SETTINGS = {"epsilon": 0.01, "tau": 0.1, "rho": 0.5}
ETA = (0.5, 0.7)
TIGHT = {"tolerance": 1e-4, "max_iterations": 5000}


def problem(people, cells=CELLS):
    """Points, and a density as a counter in training gives it: blobs that miss the heads a little, and noise."""
    generator = np.random.default_rng(people)
    side = cells * STRIDE
    points = generator.uniform(0, side, (people, 2)).astype("float32")
    centers = (np.arange(cells) + 0.5) * STRIDE
    seen = points + generator.normal(0, 4, points.shape)
    rows, columns = (np.exp(-((centers[:, None] - seen[:, axis]) ** 2) / 128) for axis in (1, 0))
    density = (rows / rows.sum(0)) @ (columns / columns.sum(0)).T
    density *= generator.lognormal(0, 0.3, density.shape)
    return points, (density + generator.uniform(0, 1e-3, density.shape)).astype("float32")


class Geomloss:
    """The authors' loss with geomloss: potentials from its iterations, then the terms, and PyTorch's gradient."""

    def __init__(self, points, density):
        side = CELLS * STRIDE
        y, x = np.mgrid[:CELLS, :CELLS] + 0.5
        self.grid = torch.tensor(np.stack([x, y], -1).reshape(1, -1, 2) * STRIDE / side, dtype=torch.float32)
        self.points = torch.tensor(points[None] / side)
        self.density = torch.tensor(density.reshape(1, -1))
        self.ones = torch.ones(1, len(points))
        self.potentials = geomloss.SamplesLoss(
            "sinkhorn",
            p=1,
            blur=SETTINGS["epsilon"],
            reach=SETTINGS["rho"],
            scaling=0.5,
            debias=False,
            potentials=True,
            cost=self.cost,
            backend="tensorized",
        )

    @staticmethod
    def cost(x, y):
        """The perspective cost."""
        distance = (x[:, :, None] - y[:, None]).square().sum(-1).sqrt()
        mean = (x[:, :, None, 1] + y[:, None, :, 1]) / 2
        return torch.exp(distance / (ETA[0] + (ETA[1] - ETA[0]) * mean)) - 1

    def solve(self):
        """Returns f and g, `(1, n)` and `(1, m)`."""
        with torch.no_grad():
            f, g = self.potentials(self.density, self.grid, self.ones, self.points)
        return f.reshape(1, -1), g.reshape(1, -1)

    def __call__(self):
        """Value and gradient."""
        epsilon, tau, rho = SETTINGS["epsilon"], SETTINGS["tau"], SETTINGS["rho"]
        a = self.density.clone().requires_grad_()
        f, g = self.solve()
        cost = self.cost(self.grid, self.points)
        plan = torch.exp((f[:, :, None] + g[:, None] - cost) / epsilon) * a[:, :, None]
        value = (rho + epsilon / 2) * ((a * (1 - torch.exp(-f / rho))).sum() + (1 - torch.exp(-g / rho)).sum())
        value = value + epsilon * ((plan + 1e-20) * torch.log(plan + 1e-20)).mean()
        value = value + tau * (plan.sum(1) - 1).abs().sum() + tau * (plan.sum(2).detach() - a).square().sum()
        value.backward()
        return float(value.detach()), a.grad.numpy()

    def residual(self):
        """The largest change of log u or log v by another iteration, in float64."""
        f, g = (values.numpy()[0].astype("float64") for values in self.solve())
        cost = self.cost(self.grid, self.points).numpy()[0].astype("float64")
        epsilon, log_a = SETTINGS["epsilon"], np.log(self.density.numpy()[0].astype("float64"))
        damping = 1 / (1 + epsilon / SETTINGS["rho"])
        new_f = -damping * epsilon * np.logaddexp.reduce((g - cost) / epsilon, 1)
        new_g = -damping * epsilon * np.logaddexp.reduce(log_a[:, None] + (f[:, None] - cost) / epsilon, 0)
        return max(np.abs(new_f - f).max(), np.abs(new_g - g).max()) / epsilon


def ours(points, density, **options):
    """Returns a function that computes value and gradient, and one that solves, as the loss does it."""
    bucket = max(16, 1 << (len(points) - 1).bit_length())
    padded = np.pad(points, [[0, bucket - len(points)], [0, 0]])[None]
    y_true = {
        "points": tf.constant(padded),
        "point_mask": tf.constant((np.arange(bucket) < len(points)).astype("float32")[None]),
    }
    y_pred = tf.constant(density[None, ..., None])
    loss = UnbalancedOTLoss(STRIDE, **options)

    @tf.function
    def value_and_gradient(y_pred):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss.call(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    def compute():
        value, gradient = value_and_gradient(y_pred)
        return float(value[0]), gradient.numpy()

    def solve(**changed):
        cost = transport_cost(y_true["points"], CELLS, CELLS, STRIDE, loss.cost, (loss.eta_far, loss.eta_near))
        settings = {"tolerance": loss.tolerance, "max_iterations": loss.max_iterations, **changed}
        kind = "kl" if loss.formulation == "reference" else "entropy"
        masses = tf.reshape(y_pred, [1, -1]) + 1e-8
        return unbalanced_sinkhorn(masses, y_true["point_mask"], cost, loss.epsilon, loss.rho, kind, **settings)

    return compute, solve


def equation_1(points, density, result):
    """The paper's loss of a plan, in float64, with its default weights."""
    loss = UnbalancedOTLoss(STRIDE)
    cost = transport_cost(points[None], CELLS, CELLS, STRIDE, loss.cost, (loss.eta_far, loss.eta_near))
    cost = cost.numpy()[0].astype("float64")
    f, g = result.f.numpy()[0].astype("float64"), result.g.numpy()[0, : len(points)].astype("float64")
    logarithm = (f[:, None] + g - cost) / loss.epsilon
    plan = np.exp(logarithm)
    value = (plan * (cost + loss.epsilon * (logarithm - 1))).sum()
    value += loss.tau * np.square(plan.sum(1) - density.ravel()).sum()
    return value + loss.tau * np.abs(plan.sum(0) - 1).sum()


def fewest(error, bound=1e-3, most=4096):
    """Returns the fewest iterations after which an error is below a bound, found by halving."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if error(middle) < bound else (middle, high)
    return high


def matrices():
    """Returns the memory that value and gradient take, in matrices of cells x points of 32-bit numbers.

    It must be called first: memory that was freed before would be taken again unseen.
    """
    ours(*problem(POINTS[0]))[0]()
    compute = ours(*problem(MEMORY_POINTS, MEMORY_CELLS))[0]
    with open("/proc/self/clear_refs", "w", encoding="utf-8") as file:
        file.write("5")
    before = resident("VmRSS")
    compute()
    return (resident("VmHWM") - before) / (4 * MEMORY_CELLS**2 * MEMORY_POINTS)


def main():
    """Measures, prints tables and the result."""
    memory = matrices()
    torch.set_num_threads(os.cpu_count() or 1)
    print(f"reference formulation, epsilon {SETTINGS['epsilon']}; {os.cpu_count()} threads; median of {REPEATS}")
    print(f"{'points':>6}{'geomloss ms':>13}{'residual':>10}{'ours ms':>9}{'iterations':>12}{'ratio':>7}{'POT ms':>9}")
    ratios = {}
    for people in POINTS:
        points, density = problem(people)
        theirs = Geomloss(points, density)
        residual = theirs.residual()
        compute, solve = ours(
            points, density, formulation="reference", eta_far=ETA[0], eta_near=ETA[1], tolerance=residual, **SETTINGS
        )
        iterations = int(solve().iterations)
        cost = theirs.cost(theirs.grid, theirs.points).numpy()[0].astype("float64")
        a, b = density.ravel().astype("float64"), np.ones(people)

        def pot(a=a, b=b, cost=cost, iterations=iterations):
            ot.unbalanced.sinkhorn_stabilized_unbalanced(
                a, b, cost, SETTINGS["epsilon"], SETTINGS["rho"], reg_type="kl", numItermax=iterations, stopThr=0
            )

        seconds = medians({"geomloss": theirs, "ours": compute, "POT": pot}, REPEATS)
        ratios[people] = seconds["geomloss"] / seconds["ours"]
        print(
            f"{people:>6}{1e3 * seconds['geomloss']:>13.1f}{residual:>10.2g}{1e3 * seconds['ours']:>9.1f}"
            f"{iterations:>12}{ratios[people]:>7.1f}{1e3 * seconds['POT']:>9.0f}"
        )
    print("residual: the largest change of the logarithm of a scaling factor that another iteration would make")

    print("\npaper's formulation, epsilon 0.005: iterations and time to 1e-3 of its value, and as in training")
    print(f"{'points':>6}{'plain':>7}{'over-relaxed':>14}{'ms':>8}{'training: ms':>14}{'off by':>9}")
    for people in POINTS:
        points, density = problem(people)
        compute, solve = ours(points, density)
        exact = equation_1(points, density, solve(**TIGHT))
        iterations = {}
        for name, factor in (("plain", 1.0), ("over-relaxed", None)):

            def error(limit, points=points, density=density, solve=solve, exact=exact, factor=factor):
                result = solve(relaxation=factor, tolerance=1e-9, max_iterations=limit)
                return abs(equation_1(points, density, result) / exact - 1)

            iterations[name] = fewest(error)
        enough, _ = ours(points, density, tolerance=1e-9, max_iterations=iterations["over-relaxed"])
        seconds = medians({"enough": enough, "default": compute}, REPEATS)
        print(
            f"{people:>6}{iterations['plain']:>7}{iterations['over-relaxed']:>14}{1e3 * seconds['enough']:>8.1f}"
            f"{1e3 * seconds['default']:>14.1f}{abs(compute()[0] / exact - 1):>9.1e}"
        )
    print(f"\nmemory for {MEMORY_CELLS} x {MEMORY_CELLS} cells and {MEMORY_POINTS} points: {memory:.1f} such matrices")
    finish(ratios[MEASURED], BOUND, largest=False)


if __name__ == "__main__":
    main()
