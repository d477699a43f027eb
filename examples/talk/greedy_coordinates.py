"""Taking the steepest coordinate beats taking a random one.

Least squares with sparse features, by one coordinate a step; and a quadratic whose
parameters have to keep their sum, by two. Only the choice differs: the step along it is
exact.

python -m examples.talk.greedy_coordinates
"""

import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import optaxls
from examples.talk.claim import Claim, at_most, main
from examples.talk.pictures import BLACK, BLUE, GREEN, LEGEND, ORANGE, panels

COORDINATES, PAIRS = 100, 200
STEPS, PAIR_STEPS = 6000, 10_000
GAP, PAIR_GAP = 1e-6, 1e-2
PAGES, DAMPING = 300, 0.85


def least_squares() -> tuple[np.ndarray, np.ndarray]:
    """Hessian and linear term of sparse least squares, with columns of many scales."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * COORDINATES, COORDINATES))
    x *= (rng.random(x.shape) < 0.1) * np.geomspace(1, 10, COORDINATES)
    targets = x @ rng.standard_normal(COORDINATES) + rng.standard_normal(len(x))
    return x.T @ x + 0.1 * np.eye(COORDINATES), x.T @ targets


def with_a_sum() -> tuple[np.ndarray, np.ndarray]:
    """A quadratic for parameters whose sum stays 0."""
    rng = np.random.default_rng(1)
    roots = rng.standard_normal((PAIRS, PAIRS)) / np.sqrt(PAIRS)
    return roots @ roots.T + 0.05 * np.eye(PAIRS), rng.standard_normal(PAIRS)


def gaps(
    direction: Any, hessian: np.ndarray, linear: np.ndarray, best: float, steps: int
) -> np.ndarray:
    """What is left of the first loss's distance to the least one, after each step."""
    step_size = optaxls.scale_by_initial_step(optaxls.constant(1.0))
    optimizer = optax.chain(direction, optax.scale(-1.0), step_size)

    def loss(w: jax.Array) -> jax.Array:
        return 0.5 * w @ (jnp.asarray(hessian) @ w) - jnp.asarray(linear) @ w

    step = optaxls.make_step(loss, optimizer)

    def body(carry, _):
        w, state = carry
        result = step(w, state)
        return (result.params, result.opt_state), result.value

    start = jnp.zeros(len(linear))
    first = (start, optimizer.init(start))
    values = jax.jit(lambda: jax.lax.scan(body, first, length=steps)[1])()
    return (np.asarray(values) - best) / (0 - best)


def random_pairs(hessian: np.ndarray, linear: np.ndarray, best: float) -> np.ndarray:
    """The same for two coordinates drawn at random, and the exact step along them."""
    curvatures, size = jnp.asarray(hessian), len(linear)

    def body(w: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        bent = curvatures @ w
        value, grad = 0.5 * w @ bent - linear @ w, bent - linear
        i, j = jax.random.choice(key, size, (2,), replace=False)
        bend = curvatures[i, i] + curvatures[j, j] - 2 * curvatures[i, j]
        mass = (grad[i] - grad[j]) / bend
        return w.at[i].add(-mass).at[j].add(mass), value

    keys = jax.random.split(jax.random.key(0), PAIR_STEPS)
    values = jax.jit(lambda: jax.lax.scan(body, jnp.zeros(size), keys)[1])()
    return (np.asarray(values) - best) / (0 - best)


def page_rank() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Personalised PageRank as a quadratic, and by power iteration.

    On an undirected graph ``p = (1 - a) s + a A D^-1 p`` is the minimum of one in
    ``D^-1/2 p``. New pages link to old ones that have many links.

    Returns:
        Hessian, linear term and the square roots of the degrees times the minimum,
        which is p.
    """
    rng = np.random.default_rng(2)
    links = np.zeros((PAGES, PAGES))
    for page in range(1, PAGES):
        popularity = links[:page].sum(1) + 1
        size = min(page, 3)
        chosen = rng.choice(page, size, replace=False, p=popularity / popularity.sum())
        links[page, chosen] = links[chosen, page] = 1
    roots = np.sqrt(links.sum(1))
    source = np.zeros(PAGES)
    source[PAGES // 2] = 1
    ranks = source
    for _ in range(400):
        ranks = (1 - DAMPING) * source + DAMPING * links @ (ranks / roots**2)
    hessian = np.eye(PAGES) - DAMPING * links / np.outer(roots, roots)
    return hessian, (1 - DAMPING) * source / roots, ranks / roots


def ranked() -> dict[str, np.ndarray]:
    """Curves of the steepest and of random coordinates on PageRank."""
    hessian, linear, optimum = page_rank()
    best = float(0.5 * optimum @ hessian @ optimum - linear @ optimum)
    rules = {"random": {"key": 0}, "gs": {}}
    return {
        rule: gaps(
            optaxls.scale_by_greedy_coordinate(rule, **more),
            hessian, linear, best, STEPS,
        )
        for rule, more in rules.items()
    }  # fmt: skip


def one_coordinate() -> dict[str, np.ndarray]:
    """The curves of four choices of a coordinate."""
    hessian, linear = least_squares()
    best = float(-0.5 * linear @ np.linalg.solve(hessian, linear))
    smoothness = jnp.asarray(np.diag(hessian))
    rules = {"random": {"key": 0}, "cyclic": {}, "gs": {}, "gsl": {}}
    return {
        rule: gaps(
            optaxls.scale_by_greedy_coordinate(rule, smoothness=smoothness, **more),
            hessian, linear, best, STEPS,
        )
        for rule, more in rules.items()
    }  # fmt: skip


def two_coordinates() -> dict[str, np.ndarray]:
    """The curves of two choices of a pair."""
    hessian, linear = with_a_sum()
    ones, size = np.ones((PAIRS, 1)), PAIRS
    system = np.block([[hessian, ones], [ones.T, np.zeros((1, 1))]])
    optimum = np.linalg.solve(system, np.append(linear, 0))[:size]
    best = float(0.5 * optimum @ hessian @ optimum - linear @ optimum)
    greedy = optaxls.scale_by_greedy_pair()
    return {
        "random": random_pairs(hessian, linear, best),
        "greedy": gaps(greedy, hessian, linear, best, PAIR_STEPS),
    }


def steps_to(curve: np.ndarray, gap: float) -> int:
    """The first step after which no more than a share of the distance is left."""
    assert curve[-1] <= gap, curve[-1]
    return int(np.argmax(curve <= gap))


def draw(*families: dict[str, np.ndarray]) -> Figure:
    """Distances from the least loss on the three problems."""
    figure, all_axes = panels(["least squares", "PageRank", "two that keep their sum"])
    left = all_axes[0]
    for axes, curves in zip(all_axes, families, strict=True):
        for (name, curve), color in zip(
            curves.items(), (BLACK, ORANGE, BLUE, GREEN), strict=False
        ):
            axes.semilogy(np.maximum(curve, 1e-16), color=color, label=name)
        axes.set_ylim(1e-10, 1)
        axes.set_xlabel("steps")
        axes.legend(**LEGEND)
    left.set_ylabel("loss less the least one, share of the first")
    return figure


def measure() -> Claim:
    """Steps to a share of the first loss, against those of random choices."""
    with jax.enable_x64(True):
        single, ranks, pairs = one_coordinate(), ranked(), two_coordinates()
    steps = {name: steps_to(curve, GAP) for name, curve in single.items()}
    pair_steps = {name: steps_to(curve, PAIR_GAP) for name, curve in pairs.items()}
    random = steps["random"]
    return Claim(
        title="Greedy coordinates",
        says="Where all slopes are known anyway, a step along the steepest coordinate"
        " gains more than one along a random coordinate. It is so too for two"
        " coordinates whose sum has to stay the same.",
        checks=(
            at_most("steps to 1e-6: steepest / random", steps["gs"] / random, 0.6),
            at_most("steps to 1e-6: GSL / random", steps["gsl"] / random, 0.35),
            at_most(
                f"PageRank: what is left after {STEPS} steps: steepest / random",
                ranks["gs"][-1] / ranks["random"][-1], 0.1,
            ),
            at_most(
                "two coordinates, steps to 1e-2: greedy / random",
                pair_steps["greedy"] / pair_steps["random"], 0.2,
            ),
        ),
        findings=(
            "Steps of one coordinate to a millionth of the first distance: "
            + ", ".join(f"{count} ({name})" for name, count in steps.items())
            + ". GSL divides slopes by the root of the curvature; taking turns"
            " (cyclic) is better than chance as well, so the claim is about chance.",
            "Steps of two coordinates to a hundredth: "
            + ", ".join(f"{count} ({name})" for name, count in pair_steps.items())
            + ".",
            f"On the {PAGES} pages of PageRank, whose ranks a power iteration gave, the"
            f" steepest coordinate left {ranks['gs'][-1]:.0e} of the first distance,"
            f" random ones {ranks['random'][-1]:.0e}.",
            "These are steps, not seconds: the steepest coordinate needs all slopes."
            " It pays where they are kept up to date cheaply, as with sparse features.",
        ),
        figure=draw(single, ranks, pairs),
        source="Nutini, Schmidt, Laradji, Friedlander, Koepke 2015 (arXiv:1506.00552);"
        " Ramesh et al. 2023 (arXiv:2307.01169)",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(measure, "greedy_coordinates"))
