"""L1 logistic regression on correlated data: evaluations, and seconds beside others.

    python -m examples.benchmark.sparse
    python -m examples.benchmark.sparse --rounds 30 --penalty 0.05
    python -m examples.benchmark.sparse --quick

The objective is that of benchopt, with the penalty as a share of the smallest one that
makes all weights 0. Evaluations of the loss with its gradient are counted until the
objective is within 1e-8 of the least one, as a share of the first distance. Then whole
solves to that gap are timed after compilation, in a new order every round: ``owl_qn``,
``linear.greedy_coordinate``, liblinear and, where it is installed, skglm. Close other
programs.
"""

import dataclasses
import functools
import importlib
import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression

import optaxls
from examples.common.command_line import read
from examples.common.errors import UsageError, exit_code
from optaxls import linear

GAPS = (1e-4, 1e-6, 1e-8, 1e-10)
WANTED = 1e-8
MOST_STEPS = 3000


@dataclasses.dataclass(frozen=True)
class Settings:
    """Compare solvers of sparse logistic regression; everything has a default."""

    rows: int = 500
    """Examples."""
    columns: int = 2000
    """Features, each correlated by 0.6 with the one before."""
    penalty: float = 0.1
    """Share of the smallest penalty that makes all weights 0."""
    rounds: int = 10
    """Timed solves of each solver."""
    quick: bool = False
    """Tiny data and two rounds: its seconds say nothing."""


class Data(NamedTuple):
    """Features, labels of -1 and 1, and the weight of the L1 penalty on the mean."""

    features: np.ndarray
    labels: np.ndarray
    weight: float


def correlated(rows: int, columns: int, penalty: float) -> Data:
    """The data of ``benchopt.datasets.make_correlated_data``, seed 42, made anew."""
    rng = np.random.RandomState(42)
    correlation, density, signal_to_noise = 0.6, 0.2, 3
    features = np.empty((rows, columns), order="F")
    last = features[:, 0] = rng.randn(rows)
    for column in range(1, columns):
        fresh = np.sqrt(1 - correlation**2) * rng.randn(rows)
        last = features[:, column] = correlation * last + fresh
    size = int(density * columns)
    weights = np.zeros(columns)
    places = rng.choice(columns, size, replace=False)
    weights[places] = rng.randn(size)
    signal, noise = features @ weights, rng.randn(rows)
    noise *= np.linalg.norm(signal) / np.linalg.norm(noise) / signal_to_noise
    labels = np.sign(signal + noise)
    largest = np.max(np.abs(features.T @ labels)) / 2
    return Data(features, labels, penalty * largest / rows)


def objective(data: Data, weights: np.ndarray) -> float:
    """The mean loss with its penalty."""
    margins = data.labels * (data.features @ weights)
    return float(np.logaddexp(0, -margins).mean() + data.weight * np.abs(weights).sum())


def published_owl_qn(weight: float) -> Any:
    """OWL-QN as Andrew and Gao have it, from the parts of the library.

    The direction is that of L-BFGS from the pseudo-gradient, without those coordinates
    that go against it.
    """
    base = optaxls.lbfgs_pairs()

    def update(grads: Any, state: Any, params: Any, **extra: Any) -> Any:
        shrunk = jnp.sign(grads) * jnp.maximum(jnp.abs(grads) - weight, 0)
        at_zero = params == 0
        pseudo_grad = jnp.where(at_zero, shrunk, grads + weight * jnp.sign(params))
        found, state = base.update(pseudo_grad, state, params, **extra)
        direction = jnp.where(found.searched * pseudo_grad < 0, found.searched, 0)
        return optaxls.Directions(direction, direction), state

    # With a gradient at each trial, so that evaluations count as in owl_qn.
    rule = optaxls.scale_by_line_search(
        optaxls.armijo(1e-4)._replace(needs_slope=True),
        optaxls.constant(1.0),
        optaxls.interpolating(),
        path=optaxls.along_orthant(optaxls.prox.l1(weight)),
        fallback_step=0.0,
    )
    return optaxls.two_directions(base._replace(update=update), rule)


def optimizers(weight: float) -> dict[str, Any]:
    """By the names of the table."""
    return {
        "owl_qn (PSSgb)": optaxls.owl_qn(weight),
        "OWL-QN as published": published_owl_qn(weight),
        "fista": optaxls.fista(optaxls.prox.l1(weight)),
    }


def fit(optimizer: Any, steps: int, features: Any, labels: Any) -> Any:
    """One run of ``minimize`` from 0, to be jitted; it makes all of the steps."""

    def loss(w: jax.Array) -> jax.Array:
        return jnp.mean(jnp.logaddexp(0, -labels * (features @ w)))

    start = jnp.zeros(features.shape[1])
    return optaxls.minimize(loss, start, optimizer, max_steps=steps, tolerance=1e-12)


class Counted(NamedTuple):
    """Losses and evaluations after each step, and the weights at the end."""

    values: np.ndarray
    evaluations: np.ndarray
    params: np.ndarray


def count(data: Data, optimizer: Any) -> Counted:
    """One long run."""
    run = jax.jit(functools.partial(fit, optimizer, MOST_STEPS))
    result = run(data.features, data.labels)
    made = int(result.num_steps) + 1
    params = optaxls.eval_params(result.opt_state, result.params)
    values, evaluations = result.history.value, result.history.num_evaluations
    return Counted(
        np.asarray(values)[:made], np.asarray(evaluations)[:made], np.asarray(params)
    )


def at_gaps(found: Counted, best: float) -> list[tuple[int, int] | None]:
    """Steps and evaluations to each gap, None where it was not reached."""
    gaps = (found.values - best) / (found.values[0] - best)
    steps = [int(np.argmax(gaps <= gap)) if np.any(gaps <= gap) else -1 for gap in GAPS]
    return [(k, int(found.evaluations[k])) if k >= 0 else None for k in steps]


def _liblinear(data: Data, tolerance: float) -> np.ndarray:
    strength = 1 / (data.weight * len(data.labels))
    model = LogisticRegression(
        l1_ratio=1, solver="liblinear", fit_intercept=False, C=strength,
        tol=tolerance, max_iter=100_000,
    )  # fmt: skip
    return model.fit(data.features, data.labels).coef_[0]


def _skglm(data: Data, tolerance: float) -> np.ndarray:
    # Only here, for it need not be installed.
    skglm = importlib.import_module("skglm")
    model = skglm.SparseLogisticRegression(
        data.weight, tol=tolerance, fit_intercept=False, max_iter=1000
    )
    return model.fit(data.features, data.labels).coef_.ravel()


def _greedy(problem: linear.Problem, data: Data, tolerance: float) -> np.ndarray:
    del data
    return np.asarray(
        linear.greedy_coordinate(problem, tolerance=tolerance).coefficients
    )


def whole_solvers(data: Data, best: float) -> dict[str, Callable[[], np.ndarray]]:
    """From data to weights, at the loosest tolerance that reaches the gap."""
    problem = linear.problem(
        data.features, data.labels, loss="logistic", l1=data.weight, intercept=False
    )
    solvers: dict[str, Callable[[Data, float], np.ndarray]] = {
        "linear.greedy_coordinate": functools.partial(_greedy, problem),
        "liblinear": _liblinear,
    }
    if importlib.util.find_spec("skglm") is not None:
        solvers["skglm"] = _skglm
    limit = best + WANTED * (np.log(2) - best)
    found = {}
    for name, solve in solvers.items():
        for tolerance in 10.0 ** -np.arange(2, 13):
            if objective(data, solve(data, tolerance)) <= limit:
                found[name] = functools.partial(solve, data, tolerance)
                break
    return found


def timed(solvers: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The median of each solver's seconds."""
    rng, seconds = np.random.default_rng(0), {name: [] for name in solvers}
    for solve in solvers.values():
        solve()
    for _ in range(rounds):
        for name in rng.permutation(list(solvers)):
            began = time.perf_counter()
            jax.block_until_ready(solvers[name]())
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(found)) for name, found in seconds.items()}


def compare(settings: Settings) -> dict[str, float]:
    """Prints both tables; returns the seconds."""
    rows, columns, rounds = settings.rows, settings.columns, settings.rounds
    if settings.quick:
        rows, columns, rounds = 60, 100, 2
    data = correlated(rows, columns, settings.penalty)
    runs = {name: count(data, opt) for name, opt in optimizers(data.weight).items()}
    best = min(float(np.min(found.values)) for found in runs.values())
    print("| optimizer | steps / evaluations to", *GAPS, "| not 0 |")
    for name, found in runs.items():
        cells = ["-" if c is None else f"{c[0]}/{c[1]}" for c in at_gaps(found, best)]
        print(f"| {name} | {', '.join(cells)} | {np.sum(found.params != 0)} |")
    reached = at_gaps(runs["owl_qn (PSSgb)"], best)[GAPS.index(WANTED)]
    assert reached is not None
    ours = jax.jit(functools.partial(fit, optaxls.owl_qn(data.weight), reached[0]))
    arrays = jnp.asarray(data.features), jnp.asarray(data.labels)
    others = whole_solvers(data, best)
    support = runs["owl_qn (PSSgb)"].params != 0
    for name, solve in others.items():
        differs = int(np.sum((solve() != 0) != support))
        print(f"{name}: {differs} weights are 0 for one of the two only")
    solvers = {"owl_qn": lambda: ours(*arrays).params, **others}
    seconds = timed(solvers, rounds)
    for name, found in seconds.items():
        print(f"{name}: {found:.4f} s to a gap of {WANTED:g}")
    return seconds


def _run(settings: Settings) -> None:
    if settings.rounds < 1:
        raise UsageError(f"--rounds must be at least 1, not {settings.rounds}")
    with warnings.catch_warnings(), jax.enable_x64(True):
        # A tolerance that is too loose is expected among those tried.
        warnings.simplefilter("ignore")
        compare(settings)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; 2 is the exit code of a mistake the user can put right."""
    settings = read(Settings, arguments)
    return exit_code(lambda: _run(settings))


if __name__ == "__main__":
    sys.exit(main())
