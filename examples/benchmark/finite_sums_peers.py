"""Other packages' solvers of finite sums, raced where they are installed.

    pip install nemos copt numba tick

Their step sizes are chosen by the user. Here they are the longest that theory knows.
"""

import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from examples.benchmark.finite_sums_solvers import Data, Solve

# An epoch of SVRG is a pass for the whole gradient, and one with two gradients a step.
_PASSES_OF_SVRG = 3


def _largest_smoothness(data: Data) -> float:
    """The L of the longest example: a quarter of its square, and the penalty."""
    return 0.25 * float(np.max(np.sum(data.features**2, axis=1))) + data.l2


def nemos_svrg(data: Data, passes: int, seed: int) -> Any:
    """SVRG of nemos, one example a step, with the step 1 / (3 L)."""
    nemos = importlib.import_module("nemos.solvers._svrg")

    def loss(w: Any, x: Any, y: Any) -> Any:
        return jnp.mean(jax.nn.softplus(-y * (x @ w))) + 0.5 * data.l2 * w @ w

    solver = nemos.SVRG(
        loss,
        maxiter=max(passes // _PASSES_OF_SVRG, 1),
        key=jax.random.key(seed),
        stepsize=1 / (3 * _largest_smoothness(data)),
        tol=0.0,
    )
    x, y = jnp.asarray(data.features), jnp.asarray(data.labels)
    return solver.run(jnp.zeros_like(x[0]), x, y)[0]


def copt_saga(data: Data, passes: int, seed: int) -> Any:
    """SAGA of copt, compiled by numba, with its own step 1 / (3 L)."""
    copt, numba = importlib.import_module("copt"), importlib.import_module("numba")
    del seed  # It draws from NumPy's global generator.
    labels = (data.labels + 1) / 2

    @numba.njit
    def derivative(margin: Any, label: Any) -> Any:
        return 1 / (1 + np.exp(-margin)) - label

    result = copt.minimize_saga(
        derivative,
        data.features,
        labels,
        np.zeros(data.features.shape[1]),
        1 / (3 * _largest_smoothness(data)),
        alpha=data.l2,
        max_iter=passes,
        tol=0.0,
        verbose=0,
    )
    return result.x


def tick_saga(data: Data, passes: int, seed: int) -> Any:
    """SAGA of tick, in C++, with the step 1 / (3 L)."""
    linear_model = importlib.import_module("tick.linear_model")
    prox = importlib.import_module("tick.prox").ProxL2Sq(data.l2)
    solver = importlib.import_module("tick.solver").SAGA(
        1 / (3 * _largest_smoothness(data)),
        tol=0.0,
        max_iter=passes,
        verbose=False,
        record_every=passes,
        seed=seed,
    )
    model = linear_model.ModelLogReg(fit_intercept=False)
    solver.set_model(model.fit(data.features, data.labels)).set_prox(prox)
    return solver.solve(np.zeros(data.features.shape[1]))


def installed() -> dict[str, Solve]:
    """Those whose packages can be imported here."""
    known = {
        "nemos SVRG": (("nemos",), nemos_svrg),
        "copt SAGA": (("copt", "numba"), copt_saga),
        "tick SAGA": (("tick", "dill"), tick_saga),
    }
    return {
        name: solve
        for name, (modules, solve) in known.items()
        if all(importlib.util.find_spec(module) for module in modules)
    }
