"""Replays one configuration through the public API in float64, and compares."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optaxls
from tests.goldens.problems import (
    SAMPLE_LOSSES,
    Problem,
    Trajectory,
    as_params,
    ravel,
)

STEP_TOLERANCE = 1e-9
THETA_TOLERANCE = 1e-7


class Case(NamedTuple):
    """An optimizer: a factory, its numbers (traced) and its choices (static).

    One compiled program serves all cases that differ in their numbers only.
    ``sees_data``: the factory also gets ``data``, a ``Data``.
    """

    build: Callable[..., optax.GradientTransformationExtraArgs]
    numbers: dict[str, float]
    choices: dict[str, Any] = {}  # noqa: RUF012
    sees_data: bool = False


class Data(NamedTuple):
    """For rules that know the data set: the loss of each sample, the batch order."""

    sample_losses: Callable[[Any, jax.Array], jax.Array]
    batch_idx: jax.Array
    num_samples: int


class Replay(NamedTuple):
    """What ours did, one entry (or row) per step."""

    loss: np.ndarray
    step_size: np.ndarray
    num_trials: np.ndarray
    accepted: np.ndarray
    slope: np.ndarray
    theta: np.ndarray


@functools.cache
def _program(
    pid: int, names: tuple[str, ...], build: Callable, choices: tuple, sees_data: bool
) -> Callable:
    """The jitted replay of all cases of one structure on one problem."""
    sample_losses = SAMPLE_LOSSES[pid]

    def run(numbers, params, features, labels, batch_idx):
        def loss(at, idx):
            return jnp.mean(sample_losses(at, features[idx], labels[idx]))

        def each_loss(at, idx):
            return sample_losses(at, features[idx], labels[idx])

        data = Data(each_loss, batch_idx, features.shape[0])
        extra = {"data": data} if sees_data else {}
        optimizer = build(**numbers, **dict(choices), **extra)
        step = optaxls.make_step(loss, optimizer)

        def body(carry, idx):
            params, state = carry
            result = step(params, state, idx)
            step_size, num_trials, accepted, slope = (
                optax.tree.get(result.opt_state, name)
                for name in ("step_size", "num_trials", "accepted", "slope")
            )
            theta = ravel(result.params, names)
            out = (result.value, step_size, num_trials, accepted, slope, theta)
            return (result.params, result.opt_state), out

        return jax.lax.scan(body, (params, optimizer.init(params)), batch_idx)[1]

    # Compiling takes longer than running.
    return jax.jit(run, compiler_options={"xla_backend_optimization_level": 0})


def with_all_numbers(case: Case) -> Case:
    """With the factory's defaults filled in, so that more cases share a program."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(case.build).parameters.items()
        if isinstance(parameter.default, float) and name not in case.choices
    }
    return case._replace(numbers=defaults | case.numbers)


def replay(case: Case, problem: Problem) -> Replay:
    """All steps of ``case`` on ``problem``."""
    case = with_all_numbers(case)
    with jax.enable_x64(True):
        run = _program(
            problem.pid,
            tuple(problem.shapes),
            case.build,
            tuple(sorted(case.choices.items())),
            case.sees_data,
        )
        numbers = {key: np.float64(value) for key, value in case.numbers.items()}
        trajectory = run(
            numbers,
            as_params(problem),
            problem.features,
            problem.labels,
            problem.batch_idx,
        )
        return Replay(*map(np.asarray, trajectory))


def relative_errors(ours: Replay, golden: Trajectory, steps: int) -> np.ndarray:
    """Of the step sizes, one per step; 0 where both are 0."""
    want, have = golden.step_used[:steps], ours.step_size[:steps]
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.abs(have - want) / np.abs(want)
    return np.where(have == want, 0.0, errors)


def mismatches(
    ours: Replay,
    golden: Trajectory,
    problem: Problem,
    steps: int,
    skip: np.ndarray | None = None,
) -> list[str]:
    """Everything that differs in the first ``steps`` steps.

    ``skip`` masks steps whose evaluation count and step size are not compared (those
    where the table of departures says what ours reports instead).
    """
    compared = np.ones(steps, bool) if skip is None else ~skip[:steps]
    found = []
    # Of the published searches only SEG's evaluates its fallback step; all of ours do.
    trials, wanted = ours.num_trials[:steps], golden.n_evals[:steps]
    tested_fallback = ~ours.accepted[:steps] & (trials == wanted + 1)
    wrong = compared & (trials != wanted) & ~tested_fallback
    for t in np.flatnonzero(wrong)[:3]:
        found.append(f"step {t}: {ours.num_trials[t]} trials, not {golden.n_evals[t]}")
    errors = relative_errors(ours, golden, steps)
    for t in np.flatnonzero(compared & ~(errors <= STEP_TOLERANCE))[:3]:
        found.append(
            f"step {t}: step size {ours.step_size[t]:.17g}, "
            f"not {golden.step_used[t]:.17g} (relative error {errors[t]:.1e})"
        )
    # The losses pin the iterates between the stored ones.
    before = np.vstack([problem.theta0, ours.theta[:-1]])[:steps]
    scale = golden.grad_norm[:steps] * np.linalg.norm(before, axis=1)
    allowed = THETA_TOLERANCE * (scale + np.abs(golden.loss[:steps]))
    distance = np.abs(ours.loss[:steps] - golden.loss[:steps])
    for t in np.flatnonzero(~(distance <= allowed))[:3]:
        found.append(f"step {t}: loss {ours.loss[t]:.17g}, not {golden.loss[t]:.17g}")
    for row, done in enumerate(problem.theta_steps):
        if done <= steps:
            want = golden.theta[row]
            distance = np.linalg.norm(ours.theta[done - 1] - want)
            allowed = THETA_TOLERANCE * np.linalg.norm(want)
            if not distance <= allowed:
                found.append(
                    f"iterate after {done} steps: {distance:.1e} > {allowed:.1e}"
                )
    return found
