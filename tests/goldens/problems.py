"""The problems of ``../shared/goldens`` in JAX, and the files that hold them."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

FULL_SET = Path(__file__).resolve().parents[3] / "shared" / "goldens"
FIELDS = ("loss", "grad_norm", "first_try", "step_used", "n_evals", "theta")
EXTRACT = Path(__file__).with_name("extract.npz")


class Problem(NamedTuple):
    """Data, start and batch order of one problem; float64 NumPy arrays."""

    pid: int
    features: np.ndarray
    labels: np.ndarray
    batch_idx: np.ndarray
    theta0: np.ndarray
    theta_steps: np.ndarray
    shapes: dict[str, tuple[int, ...]]
    steps_per_epoch: float


class Trajectory(NamedTuple):
    """What the reference did; entry t of a field belongs to step t."""

    config: dict[str, Any]
    stable_steps: int
    loss: np.ndarray
    grad_norm: np.ndarray
    first_try: np.ndarray
    step_used: np.ndarray
    n_evals: np.ndarray
    theta: np.ndarray


def _least_squares(params: dict, x: jax.Array, y: jax.Array) -> jax.Array:
    return 0.5 * (x @ params["w"] - y) ** 2


def _logistic(params: dict, x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.logaddexp(0.0, -y * (x @ params["w"]))


def _tanh_network(params: dict, x: jax.Array, y: jax.Array) -> jax.Array:
    hidden = jnp.tanh(x @ params["W1"] + params["b1"])
    log_probs = jax.nn.log_softmax(hidden @ params["W2"] + params["b2"])
    return -jnp.take_along_axis(log_probs, y[:, None], axis=1)[:, 0]


SAMPLE_LOSSES = {
    1: _least_squares,
    2: _logistic,
    3: _tanh_network,
    6: _least_squares,
}


def as_params(problem: Problem) -> dict[str, np.ndarray]:
    """The start point as a tree."""
    sizes = [int(np.prod(shape)) for shape in problem.shapes.values()]
    pieces = np.split(problem.theta0, np.cumsum(sizes)[:-1])
    shaped = zip(problem.shapes.items(), pieces, strict=True)
    return {name: piece.reshape(shape) for (name, shape), piece in shaped}


def ravel(params: dict, names: tuple[str, ...]) -> jax.Array:
    """All parameters in one vector, in the order of the goldens."""
    return jnp.concatenate([jnp.ravel(params[name]) for name in names])


def _read_problem(arrays: Mapping[str, np.ndarray], prefix: str) -> Problem:
    about = json.loads(str(arrays[prefix + "problem_json"]))
    keys = ("X", "y", "batch_idx", "theta0", "theta_steps")
    features, labels, batch_idx, theta0, theta_steps = (
        arrays[prefix + key] for key in keys
    )
    return Problem(
        about["pid"],
        features,
        labels,
        batch_idx,
        theta0,
        theta_steps,
        shapes={name: tuple(shape) for name, shape in about["params"]},
        steps_per_epoch=about["n_batches_per_epoch"],
    )


def _read_trajectory(
    arrays: Mapping[str, np.ndarray], prefix: str, config: dict[str, Any]
) -> Trajectory:
    data = [arrays[f"{prefix}/{field}"] for field in FIELDS]
    return Trajectory(config, int(arrays[f"{prefix}/stable_steps"]), *data)


@functools.cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def full_configs() -> dict[str, dict[str, Any]]:
    """``{"P1/sls/armijo_r0_c0.1": configuration}`` of the folder; {} without it."""
    found = {}
    for path in sorted(FULL_SET.glob("P*_s0_*_A.npz")):
        problem, _, family, _ = path.stem.split("_")
        with np.load(path) as file:
            configs = json.loads(str(file["configs_json"]))
        found |= {f"{problem}/{family}/{name}": configs[name] for name in configs}
    return found


def full_golden(name: str, config: dict[str, Any]) -> tuple[Problem, Trajectory]:
    """The problem and the reference's trajectory from the folder."""
    problem, family, short = name.split("/")
    arrays = _arrays(FULL_SET / f"{problem}_s0_{family}_A.npz")
    return _read_problem(arrays, ""), _read_trajectory(arrays, short, config)


def extract_configs() -> dict[str, dict[str, Any]]:
    """As ``full_configs``, of the extract in this folder."""
    return json.loads(str(_arrays(EXTRACT)["configs_json"]))


def extract_golden(name: str, config: dict[str, Any]) -> tuple[Problem, Trajectory]:
    """As ``full_golden``, of the extract in this folder."""
    arrays = _arrays(EXTRACT)
    problem = name.split("/")[0]
    return _read_problem(arrays, problem + "/"), _read_trajectory(arrays, name, config)
