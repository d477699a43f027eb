"""Natural gradients for variational inference: few steps, and a precision that holds.

A Gaussian is fitted to the posterior of a logistic regression, with expectations that
are exact, so that only the geometry counts. Then to a density with two modes, from one
sample a step: there the plain update of the precision fails.

python -m examples.talk.natural_gradient
"""

import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Check, Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels

ROWS, COLUMNS, NODES = 300, 5, 60
TOLERANCE = 1e-6
STEPS, GRADIENT_STEPS = 40, 3000
STEP_SIZES = np.geomspace(1e-4, 1.0, 25)
RUNS, BIMODAL_STEPS, SHARE = 1000, 200, 0.1
# Two normal densities of width 1, this far from 0.
MODE = 1.5


class Found(NamedTuple):
    """Gaps to the best ELBO by method, step by step; and of two modes what failed.

    Attributes:
        gaps: in nats, by name; of gradient descent those of the best step size.
        precisions: of the runs on two modes, `(runs, steps)`, NaN once one failed.
        failed: share of the runs in which the precision was not positive, by name.
    """

    gaps: dict[str, np.ndarray]
    precisions: dict[str, np.ndarray]
    failed: dict[str, float]


def regression() -> tuple[jax.Array, jax.Array]:
    """Rows and labels of -1 and 1 of a logistic regression."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((ROWS, COLUMNS)) * np.geomspace(2.0, 0.1, COLUMNS)
    likely = 1 / (1 + np.exp(-x @ np.linspace(-1.0, 1.0, COLUMNS)))
    return jnp.asarray(x), jnp.where(rng.random(ROWS) < likely, 1.0, -1.0)


def expectations(mean: jax.Array, root: jax.Array) -> tuple[jax.Array, ...]:
    """Mean loss, gradient and Hessian under N(mean, root root^T), by quadrature.

    The loss of a row depends on one normal number, its margin: so 60 nodes are exact to
    rounding.
    """
    x, y = regression()
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = jnp.asarray(weights / weights.sum())
    spread = jnp.linalg.norm(x @ root, axis=1)
    margins = y[:, None] * ((x @ mean)[:, None] + spread[:, None] * jnp.asarray(nodes))
    wrong = jax.nn.sigmoid(-margins)
    grad = -(x.T @ (y * (wrong @ weights))) / ROWS
    bend = (wrong * (1 - wrong)) @ weights
    return (
        jnp.mean(jax.nn.softplus(-margins) @ weights),
        grad,
        (x.T * bend) @ x / ROWS,
    )


def negative_elbo(mean: jax.Array, root: jax.Array) -> jax.Array:
    """In nats, for a prior N(0, I), but for the constant of the entropy."""
    prior = (mean @ mean + jnp.sum(root**2)) / 2
    entropy = jnp.sum(jnp.log(jnp.abs(jnp.diagonal(root))))
    return ROWS * expectations(mean, root)[0] + prior - entropy


def by_natural_gradients(step_size: float, steps: int) -> jax.Array:
    """Negative ELBO before each step of `von`."""
    optimizer = optaxls.von(ess=ROWS, learning_rate=step_size, hessian_init=0.1)

    def body(carry, _):
        mean, state = carry
        inverse = jnp.linalg.inv(state.factor) / jnp.sqrt(1.0 * ROWS)
        # A lower triangular root of the covariance, by its triangle.
        root = jnp.linalg.qr(inverse, mode="r").T
        _, grad, hessian = expectations(mean, root)
        updates, state = optimizer.update(grad, state, mean, hessian=hessian)
        return (mean + updates, state), negative_elbo(mean, root)

    start = jnp.zeros(COLUMNS)
    return jax.lax.scan(body, (start, optimizer.init(start)), length=steps)[1]


def by_gradients(step_size: jax.Array, steps: int) -> jax.Array:
    """Negative ELBO before each step of gradient descent in mean and root."""
    first = 1 / jnp.sqrt(ROWS * 0.1 + 1)
    start = jnp.zeros(COLUMNS), first * jnp.eye(COLUMNS)

    def body(at, _):
        value, (mean, root) = jax.value_and_grad(negative_elbo, argnums=(0, 1))(*at)
        moved = at[0] - step_size * mean, at[1] - step_size * jnp.tril(root)
        return moved, value

    return jax.lax.scan(body, start, length=steps)[1]


def needed(gaps: np.ndarray) -> float:
    """The first step from which on the gap is within the tolerance."""
    outside = np.flatnonzero(~(gaps <= TOLERANCE))
    first = 0 if len(outside) == 0 else outside[-1] + 1
    return float(first) if first < len(gaps) else np.inf


def two_modes(w: jax.Array) -> jax.Array:
    """Minus the log of a density with modes near -MODE and MODE."""
    return jnp.sum((w**2) / 2 - jnp.log(jnp.cosh(MODE * w)))


def on_two_modes(name: str) -> tuple[np.ndarray, float]:
    """Precisions of many runs with one sample a step, and the share that failed."""

    def run(key):
        make = getattr(optaxls, name)
        # A prior that hardly counts: the density is the loss itself.
        optimizer = make(ess=1, prior_precision=1e-3, learning_rate=SHARE, key=key)
        step = optaxls.make_vi_step(two_modes, optimizer)

        def body(carry, _):
            result = step(*carry)
            precision = result.opt_state.factor[0, 0] ** 2
            kept = result.metrics["accepted"] & (precision > 0)
            return result[:2], jnp.where(kept, precision, jnp.nan)

        start = jnp.zeros(1)
        return jax.lax.scan(body, (start, optimizer.init(start)), length=BIMODAL_STEPS)[
            1
        ]

    keys = jax.random.split(jax.random.key(0), RUNS)
    found = np.asarray(jax.jit(jax.vmap(run))(keys))
    return found, float(np.mean(~np.isfinite(found).all(1)))


def measure_all() -> Found:
    """Every run."""
    with jax.enable_x64(True):
        least = float(by_natural_gradients(1.0, 3 * STEPS)[-1])
        gaps = {
            f"natural gradient, b = {b:g}": by_natural_gradients(b, STEPS) - least
            for b in (0.5, 1.0)
        }
        runs = jax.jit(jax.vmap(lambda eta: by_gradients(eta, GRADIENT_STEPS)))(
            jnp.asarray(STEP_SIZES)
        )
        every = np.asarray(runs) - least
        best = min(range(len(every)), key=lambda i: (needed(every[i]), every[i][-1]))
        gaps["gradient descent, best of 25"] = every[best]
    modes = {name: on_two_modes(name) for name in ("von", "iblr")}
    return Found(
        {name: np.asarray(gap) for name, gap in gaps.items()},
        {name: found for name, (found, _) in modes.items()},
        {name: failed for name, (_, failed) in modes.items()},
    )


def draw(found: Found) -> Figure:
    """Gaps against steps, and the least precision of all runs on two modes."""
    figure, (left, right) = panels(["distance to the best ELBO", "two modes"])
    colours = (GREEN, BLUE, ORANGE)
    for (name, gap), colour in zip(found.gaps.items(), colours, strict=True):
        steps = np.arange(1, len(gap) + 1)
        left.loglog(steps, np.maximum(gap, 1e-12), color=colour, label=name)
    left.axhline(TOLERANCE, color=BLACK, linewidth=0.6)
    left.set(xlabel="step", ylabel="nats", ylim=(1e-10, None))
    left.legend(loc="upper right", **LEGEND)
    for (name, rows), colour in zip(
        found.precisions.items(), (ORANGE, BLUE), strict=True
    ):
        alive = np.isfinite(np.cumsum(rows, axis=1)).mean(0)
        label = "plain update" if name == "von" else "with the term of second order"
        right.plot(100 * alive, color=colour, label=label)
    right.set(xlabel="step", ylabel="runs with a precision > 0, %", ylim=(0, 105))
    right.legend(**LEGEND)
    return figure


def measure() -> Claim:
    """The claim, with its numbers."""
    found = measure_all()
    steps = {name: needed(gap) for name, gap in found.gaps.items()}
    half, whole, plain = steps.values()
    checks: tuple[Check, ...] = (
        at_most(f"steps to {TOLERANCE:g} nats, b = 0.5", half, 25),
        at_most(f"steps to {TOLERANCE:g} nats, b = 1", whole, 8),
        at_least("the same by gradient descent", plain, 300),
        at_least("two modes: share of failed runs, plain", found.failed["von"], 0.12),
        at_most("two modes: with the second-order term", found.failed["iblr"], 0.0),
    )
    least = np.nanmin(found.precisions["iblr"])
    return Claim(
        title="Natural gradients for variational inference",
        says="Steps that follow the geometry of Gaussians fit a posterior in a handful"
        " of iterations, and a term of second order keeps the precision positive where"
        " the loss is not convex.",
        checks=checks,
        findings=(
            f"Within {TOLERANCE:g} nats of the best Gaussian: {half:.0f} steps with"
            f" b = 0.5, {whole:.0f} with b = 1; gradient descent in mean and root of"
            f" the covariance needed {plain:.0f} with the best of"
            f" {len(STEP_SIZES)} step sizes.",
            f"On two modes, one sample a step and b = {SHARE:g}, the plain update asked"
            " for a precision that is not positive in"
            f" {100 * found.failed['von']:.0f} % of {RUNS} runs of {BIMODAL_STEPS}"
            " steps; `von` makes no step there.",
            "With the term of second order that happened in none. The least precision"
            f" was {least:.3f}.",
        ),
        figure=draw(found),
        source="Khan et al. 2018 (arXiv:1806.04854); Lin, Schmidt, Khan 2020"
        " (arXiv:2002.10060)",
    )


if __name__ == "__main__":
    sys.exit(main(measure, "natural_gradient"))
