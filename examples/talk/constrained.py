"""Curvature from past gradients helps as much with constraints as without.

Logistic regression on the breast cancer data, whole batches: without constraints, with
non-negative weights, and with an L1 penalty.

python -m examples.talk.constrained
"""

import functools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import optaxls
from examples.talk.claim import Claim, at_least, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels

L2, NONNEGATIVE_L2, L1 = 1e-3, 1e-5, 1e-2
GAP = 1e-6
LONG, SHORT = 4000, 2000


class Run(NamedTuple):
    """Losses and evaluations after each step, and the params at the end."""

    values: np.ndarray
    evaluations: np.ndarray
    params: np.ndarray


@functools.cache
def signed_features() -> np.ndarray:
    """Standardised features and a column of ones, times the label of each row."""
    features, benign = load_breast_cancer(return_X_y=True)
    scaled = (features - features.mean(0)) / features.std(0)
    rows = np.concatenate([scaled, np.ones((len(scaled), 1))], axis=1)
    return rows * (1 - 2.0 * benign)[:, None]


def loss_with(l2: float) -> Callable[[jax.Array], jax.Array]:
    """The mean logistic loss with an L2 penalty."""
    signed = jnp.asarray(signed_features())
    return lambda w: jnp.mean(jnp.logaddexp(0, -(signed @ w))) + 0.5 * l2 * w @ w


def smoothness(l2: float) -> float:
    """The largest curvature of that loss."""
    signed = signed_features()
    return float(np.linalg.norm(signed, 2) ** 2 / (4 * len(signed)) + l2)


def run(optimizer: Any, l2: float, steps: int = SHORT) -> Run:
    """One optimizer until the loss no longer falls, or for so many steps."""
    loss, start = loss_with(l2), jnp.zeros(signed_features().shape[1])
    result = optaxls.minimize(loss, start, optimizer, max_steps=steps, tolerance=1e-9)
    made = int(result.num_steps) + 1
    params = optaxls.eval_params(result.opt_state, result.params)
    values, counts = result.history.value, result.history.num_evaluations
    return Run(np.asarray(values)[:made], np.asarray(counts)[:made], np.asarray(params))


def plain(l2: float, path: Any = optaxls.along_direction) -> Any:
    """(Projected) gradient descent with the step size 1 / L."""
    size = optaxls.constant(1 / smoothness(l2))
    return optax.chain(
        optax.scale(-1.0), optaxls.scale_by_initial_step(size, path=path)
    )


def published_fista(l2: float, l1: float) -> Run:
    """FISTA as first published: the step size 1 / L, and momentum never begins anew.

    Without an L1 penalty it is Nesterov's method for convex losses.
    """
    loss, penalty, size = loss_with(l2), optaxls.prox.l1(l1), 1 / smoothness(l2)

    def step(carry, _):
        w, y, t = carry
        ahead = penalty.prox(y - size * jax.grad(loss)(y), size)
        following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
        y = ahead + (t - 1) / following * (ahead - w)
        return (ahead, y, following), loss(ahead) + penalty.penalty(ahead)

    start = jnp.zeros(signed_features().shape[1])
    first = (start, start, jnp.ones(()))
    (end, _, _), values = jax.jit(lambda: jax.lax.scan(step, first, length=SHORT))()
    values = np.append(float(loss(start)), np.asarray(values))
    return Run(values, np.arange(SHORT + 1), np.asarray(end))


def without_constraints() -> dict[str, Run]:
    """L-BFGS, Nesterov's method, `fista` with restarts, and gradient descent."""
    restarted = optaxls.fista(optaxls.prox.l1(0.0))
    return {
        "L-BFGS": run(optaxls.lbfgs(), L2),
        "Nesterov": published_fista(L2, 0.0),
        "with restarts": run(restarted, L2),
        "gradient descent": run(plain(L2), L2, LONG),
    }


def nonnegative(l2: float = NONNEGATIVE_L2) -> dict[str, Run]:
    """Four methods for weights that are not negative."""
    positive = optaxls.prox.nonnegative()
    path = optaxls.along_projection(positive)
    return {
        "two-metric": run(optaxls.two_metric(0.0, jnp.inf), l2),
        "PQN": run(optaxls.pqn(positive), l2),
        "SPG": run(optaxls.spg(positive), l2),
        "projected gradient": run(plain(l2, path), l2, LONG),
    }


def sparse() -> dict[str, Run]:
    """Four methods for an L1 penalty."""
    lasso = optaxls.prox.l1(L1)
    return {
        "OWL-QN": run(optaxls.owl_qn(L1), 0.0),
        "FISTA": published_fista(0.0, L1),
        "with restarts": run(optaxls.fista(lasso), 0.0),
        "ISTA": run(plain(0.0, optaxls.along_prox(lasso)), 0.0, LONG),
    }


def gaps(runs: dict[str, Run]) -> dict[str, np.ndarray]:
    """Distances from the least loss of all runs, as shares of the first distance."""
    best = min(np.min(found.values) for found in runs.values())
    first = next(iter(runs.values())).values[0]
    return {name: (r.values - best) / (first - best) for name, r in runs.items()}


def steps_to_gap(runs: dict[str, Run]) -> dict[str, int]:
    """Steps to the gap; all that were made, where it was not reached."""
    return {
        name: int(np.argmax(curve <= GAP)) if np.any(curve <= GAP) else len(curve) - 1
        for name, curve in gaps(runs).items()
    }


def evaluations_to_gap(runs: dict[str, Run]) -> dict[str, int]:
    """Evaluations of the loss, with its gradient or alone, to the gap."""
    steps = steps_to_gap(runs)
    return {name: int(r.evaluations[steps[name]]) for name, r in runs.items()}


def draw(*families: dict[str, Run]) -> Figure:
    """Loss against evaluations for each kind of constraint."""
    figure, all_axes = panels(["no constraint", "weights ≥ 0", "L1 penalty"])
    for axes, runs in zip(all_axes, families, strict=True):
        colors = (BLUE, GREEN, ORANGE, BLACK)
        for (name, curve), color in zip(gaps(runs).items(), colors, strict=False):
            counts = runs[name].evaluations
            axes.loglog(counts, np.maximum(curve, 1e-12), color=color, label=name)
        axes.set_ylim(1e-8, 1)
        axes.set_xlabel("evaluations")
        axes.legend(loc="lower left", **LEGEND)
    all_axes[0].set_ylabel("loss less the least one")
    return figure


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def measure() -> Claim:
    """Steps and evaluations to a millionth of the first distance."""
    with jax.enable_x64(True):
        free, positive, lasso = without_constraints(), nonnegative(), sparse()
        easy = evaluations_to_gap(nonnegative(L2))
    steps, sparse_steps = steps_to_gap(free), steps_to_gap(lasso)
    counts, positive_steps = evaluations_to_gap(positive), steps_to_gap(positive)
    newton = steps["L-BFGS"]
    supports = [lasso[name].params != 0 for name in ("OWL-QN", "FISTA")]
    return Claim(
        title="Quasi-Newton steps with constraints",
        says="For whole batches L-BFGS needs far fewer steps than accelerated or plain"
        " gradient descent. The same holds with bounds and with an L1 penalty, if zeros"
        " and active bounds have steps of their own.",
        checks=(
            at_most("steps: L-BFGS / Nesterov", newton / steps["Nesterov"], 0.2),
            at_most(
                "steps: L-BFGS / gradient descent",
                newton / steps["gradient descent"], 0.02,
            ),
            at_most(
                "steps: OWL-QN / FISTA", sparse_steps["OWL-QN"] / sparse_steps["FISTA"],
                0.25,
            ),
            at_most(
                "weights that are 0 for one of the two only",
                float(np.sum(supports[0] != supports[1])), 0,
            ),
            at_most("evaluations: PQN / SPG", counts["PQN"] / counts["SPG"], 1 / 3),
            at_least(
                "steps: projected gradient / SPG",
                positive_steps["projected gradient"] / positive_steps["SPG"], 10,
            ),
        ),
        findings=(
            f"Steps to a millionth of the distance: {_listed(steps)}. Where {LONG}"
            " stand, that many were not enough.",
            f"With an L1 penalty: {_listed(sparse_steps)}; {np.sum(supports[0])} of"
            f" {len(supports[0])} weights are not 0.",
            "Nesterov's method and FISTA are as published, with a step size of 1 / L."
            " `optaxls.fista`, with a search and restarts, is the one here called"
            f" 'with restarts': it needs {steps['with restarts']} and"
            f" {sparse_steps['with restarts']} steps, and more evaluations.",
            f"Evaluations with non-negative weights: {_listed(counts)}. With a hundred"
            f" times as large an L2 penalty: {_listed(easy)}. PQN pays where the loss"
            " is badly conditioned, and costs up to 30 projections a step; for bounds"
            " two-metric projection is better at both.",
        ),
        figure=draw(free, positive, lasso),
        source="Schmidt 2010; Schmidt, van den Berg, Friedlander, Murphy 2009",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(measure, "constrained"))
