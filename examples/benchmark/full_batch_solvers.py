"""L-BFGS of several packages, each until no entry of the gradient is above 1e-6."""

import collections
import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.optimize

import optaxls
from examples.benchmark.full_batch_problems import Problem

TOLERANCE = 1e-6
_MEMORY = 10
_MAX_STEPS = 20_000

# ``(loss, start, *data) -> params``; what is called with arrays, and can be jitted.
Solve = Callable[..., Any]


class Ready(NamedTuple):
    """A solver that is compiled for one problem."""

    run: Callable[[], Any]
    compile_seconds: float
    evaluations: int
    optimality: float


def _with_optaxls(loss: Callable, start: Any, *data: Any) -> Any:
    return optaxls.minimize(
        lambda w: loss(w, *data),
        start,
        optaxls.lbfgs(memory_size=_MEMORY),
        max_steps=_MAX_STEPS,
        tolerance=TOLERANCE,
    ).params


def _with_optax(loss: Callable, start: Any, *data: Any) -> Any:
    """The loop of optax's own documentation, which uses its gradients again."""
    optimizer = optax.lbfgs(memory_size=_MEMORY)

    def value_fn(w):
        return loss(w, *data)

    def body(carry):
        w, state = carry
        value, grad = optax.value_and_grad_from_state(value_fn)(w, state=state)
        updates, state = optimizer.update(
            grad, state, w, value=value, grad=grad, value_fn=value_fn
        )
        return optax.apply_updates(w, updates), state

    def goes_on(carry):
        _, state = carry
        grad, count = optax.tree.get(state, "grad"), optax.tree.get(state, "count")
        far = (count == 0) | (jnp.max(jnp.abs(grad)) > TOLERANCE)
        return far & (count < _MAX_STEPS)

    return jax.lax.while_loop(goes_on, body, (start, optimizer.init(start)))[0]


def _with_optimistix(tolerance: float) -> Solve:
    """It stops by the changes of params and loss, so ``tolerance`` is of these."""
    # Only here, for it is an extra.
    import optimistix

    def solve(loss, start, *data):
        solver = optimistix.LBFGS(tolerance, tolerance, history_length=_MEMORY)
        return optimistix.minimise(
            lambda w, data: loss(w, *data),
            solver,
            start,
            data,
            max_steps=_MAX_STEPS,
            throw=False,
        ).value

    return solve


def _optimality(problem: Problem, params: Any) -> float:
    return float(jnp.max(jnp.abs(jax.grad(problem.loss)(params, *problem.data))))


def _counted(solve: Solve, problem: Problem) -> tuple[int, Any]:
    """Evaluations as the host counts them, and the result."""
    count = collections.Counter()

    def loss(w, *data):
        jax.debug.callback(lambda: count.update(["evaluations"]))
        return problem.loss(w, *data)

    params = jax.jit(lambda *given: solve(loss, *given))(problem.start, *problem.data)
    params = jax.block_until_ready(params)
    jax.effects_barrier()
    return count["evaluations"], params


def _compiled(solve: Solve, problem: Problem) -> Ready:
    given = tuple(map(jnp.asarray, (problem.start, *problem.data)))
    begin = time.perf_counter()
    run = jax.jit(lambda *given: solve(problem.loss, *given)).lower(*given).compile()
    seconds = time.perf_counter() - begin
    evaluations, params = _counted(solve, problem)
    return Ready(
        lambda: run(*given), seconds, evaluations, _optimality(problem, params)
    )


def _loosest_of_optimistix(problem: Problem) -> Ready:
    """With the loosest tolerance of its own that meets that of the gradient."""
    for exponent in range(4, 17):
        solve = _with_optimistix(10.0**-exponent)
        _, params = _counted(solve, problem)
        if _optimality(problem, params) <= TOLERANCE:
            break
    return _compiled(solve, problem)


def _with_scipy(problem: Problem, by_hand: bool) -> Ready:
    begin = time.perf_counter()
    data = tuple(map(jnp.asarray, problem.data))
    both = jax.jit(jax.value_and_grad(problem.loss))
    both = both.lower(jnp.asarray(problem.start), *data).compile()
    seconds = 0.0 if by_hand else time.perf_counter() - begin

    def in_jax(w):
        return [np.asarray(part) for part in both(w, *data)]

    def in_numpy(w):
        assert problem.by_hand is not None
        return problem.by_hand(w, *problem.data)

    def run():
        return scipy.optimize.minimize(
            in_numpy if by_hand else in_jax,
            problem.start,
            jac=True,
            method="L-BFGS-B",
            options={
                "maxcor": _MEMORY,
                "ftol": 0,
                "gtol": TOLERANCE,
                "maxiter": _MAX_STEPS,
                "maxfun": 2 * _MAX_STEPS,
            },
        )

    found = run()
    return Ready(run, seconds, found.nfev, _optimality(problem, found.x))


def ready(problem: Problem) -> dict[str, Ready]:
    """All solvers for one problem; those that are not installed are left out."""
    found = {
        "optaxls": _compiled(_with_optaxls, problem),
        "SciPy, loss in JAX": _with_scipy(problem, by_hand=False),
    }
    if problem.by_hand is not None:
        found["SciPy, loss in NumPy"] = _with_scipy(problem, by_hand=True)
    found["optax"] = _compiled(_with_optax, problem)
    if importlib.util.find_spec("optimistix") is not None:
        found["Optimistix"] = _loosest_of_optimistix(problem)
    return found
