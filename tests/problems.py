"""Tiny problems with known answers, and the table of optimizers under test."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optaxls
from tests.cases import SEARCHED, Case
from tests.cases import case as _case
from tests.contract import bare_parts, fast_rows, prox_rows

_epoch = {"steps_per_epoch": 10.0}
_adapted = {"damping": optaxls.adapted_damping(1.0)}

ALIASES: dict[str, Case] = {  # a new alias joins the contract by a line here
    "sls": _case(optaxls.sls, SEARCHED, **_epoch),
    "sls_keep": _case(optaxls.sls, SEARCHED, reset="keep", **_epoch),
    "sls_restart": _case(optaxls.sls, SEARCHED, reset="restart", **_epoch),
    "sls_goldstein": _case(optaxls.sls_goldstein, SEARCHED, **_epoch),
    "sls_polyak": _case(optaxls.sls_momentum, SEARCHED, True),
    "sls_nesterov": _case(
        optaxls.sls_momentum, SEARCHED, True, variant="nesterov", c=0.5
    ),
    "sls_extragradient": _case(
        optaxls.sls_extragradient, ("value", "grad", "grad_fn"), **_epoch
    ),
    "sps": _case(optaxls.sps, ("value",)),
    "sps_smoothed": _case(optaxls.sps, ("value",), growth=2.0, **_epoch),
    "ponos": _case(optaxls.ponos, SEARCHED),
    "ponos_forgetful": _case(optaxls.ponos, SEARCHED, memory=False, decay=0.5),
    "adam_sls": _case(optaxls.adam_sls, SEARCHED, **_epoch),
    "adam_sls_momentum": _case(optaxls.adam_sls, SEARCHED, b1=0.9, **_epoch),
    "amsgrad_sls_heavy_ball": _case(
        optaxls.adam_sls,
        SEARCHED,
        True,
        variant="amsgrad",
        b1=0.5,
        momentum="heavy_ball",
        **_epoch,
    ),
    "adam_sps": _case(optaxls.adam_sps, ("value", "grad")),
    "adam_ponos": _case(optaxls.adam_ponos, SEARCHED),
    "salsa": _case(optaxls.salsa, SEARCHED),
    "salsa_ungated": _case(optaxls.salsa, SEARCHED, gated=False),
    "lbfgs": _case(optaxls.lbfgs, SEARCHED, memory_size=4),
    "auto": _case(optaxls.auto, ("value", "grad"), True),
    "sign_descent": _case(optaxls.sign_descent, (), True, learning_rate=0.01),
    "newton": _case(optaxls.newton, SEARCHED),
    "hessian_free": _case(optaxls.hessian_free, SEARCHED),
    "hessian_free_adapted": _case(optaxls.hessian_free, SEARCHED, **_adapted),
    "stochastic_lbfgs": _case(optaxls.stochastic_lbfgs, SEARCHED, memory_size=4),
}
PARTS: dict[str, Case] = (
    {
        "spectral": _case(bare_parts.spectral, SEARCHED),
        "bracketed": _case(bare_parts.bracketed, SEARCHED),
        "smoothed": _case(bare_parts.smoothed, SEARCHED),
        "guarded": _case(bare_parts.guarded, SEARCHED),
        "own_condition": _case(bare_parts.own_condition, SEARCHED),
        "secant": _case(bare_parts.secant, ("grad",)),
    }
    | fast_rows.ROWS
    | prox_rows.ROWS
)
RULES = ALIASES | PARTS
SEARCHING = [name for name, case in ALIASES.items() if case.searches]


def quadratic_params(dtype: Any = jnp.float32) -> dict[str, jax.Array]:
    return {"w": jnp.array([1.0, -0.5], dtype), "b": jnp.array(2.0, dtype)}


def quadratic(params: Any) -> jax.Array:
    """Curvatures 1, 4 and 2, minimum 0 at 0."""
    dtype = jnp.promote_types(params["w"].dtype, jnp.float32)
    w, b = params["w"].astype(dtype), params["b"].astype(dtype)
    return 0.5 * w[0] ** 2 + 2.0 * w[1] ** 2 + b**2


class Fault(NamedTuple):
    """What is done to a batch: factors on value, gradient and trials, and an offset."""

    value: Any = 1.0
    grad: Any = 1.0
    trial: Any = 1.0
    offset: Any = 0.0


NAN, INF = float("nan"), float("inf")
GOOD = Fault()
NON_FINITE = {
    "nan_batch": Fault(NAN, NAN, NAN),
    "nan_value": Fault(value=NAN),
    "inf_value": Fault(value=INF),
    "minus_inf_value": Fault(value=-INF),
    "nan_gradient": Fault(grad=NAN),
    "inf_gradient": Fault(grad=INF),
}
FAILED_SEARCH = {
    "trials_always_larger": Fault(offset=1e4),
    "trials_all_nan": Fault(trial=NAN),
    "trials_all_inf": Fault(trial=INF),
    "trials_all_minus_inf": Fault(trial=-INF),
}


def faulty_update(optimizer: Any) -> Callable[..., Any]:
    """``(params, state, fault) -> (params, state, updates)``; one program for all."""

    def update(params, state, fault):
        value, clean = jax.value_and_grad(quadratic)(params)
        grad = jax.tree.map(lambda g: (g * fault.grad).astype(g.dtype), clean)

        def value_fn(at):
            return quadratic(at) * fault.trial + fault.offset

        def grad_fn(at):
            gradient = jax.grad(quadratic)(at)
            return jax.tree.map(
                lambda g: (g * fault.trial + fault.offset).astype(g.dtype), gradient
            )

        updates, state = optimizer.update(
            grad,
            state,
            params,
            value=value * fault.value,
            grad=grad,
            value_fn=value_fn,
            grad_fn=grad_fn,
        )
        return optax.apply_updates(params, updates), state, updates

    return update


@functools.cache
def compiled(name: str) -> tuple[Any, Callable[..., Any]]:
    """The optimizer of that name and its jitted faulty update, shared by the tests."""
    optimizer = RULES[name].make()
    return optimizer, jax.jit(faulty_update(optimizer))


def as_arrays(fault: Fault) -> Fault:
    """Arrays of fixed dtype, so that every fault runs the same program."""
    return Fault(*(jnp.asarray(number, jnp.float32) for number in fault))


def run(name: str, faults: list[Fault], params: Any = None) -> list[dict[str, Any]]:
    """Steps through ``faults``; each record holds params, state, updates, metrics."""
    if params is None:
        return _run_from_the_start(name, tuple(faults))
    return _run(name, faults, params)


@functools.cache
def _run_from_the_start(name: str, faults: tuple[Fault, ...]) -> list[dict[str, Any]]:
    return _run(name, list(faults), quadratic_params())


def _run(name: str, faults: list[Fault], params: Any) -> list[dict[str, Any]]:
    optimizer, update = compiled(name)
    state = optimizer.init(params)
    records = []
    for fault in faults:
        params, state, updates = update(params, state, as_arrays(fault))
        record = {"params": params, "state": state, "updates": updates}
        records.append(record | optaxls.metrics(state))
    return records


def least_squares(num_rows: int, num_columns: int, seed: int = 0):
    """Rows, interpolated targets and a solution."""
    keys = jax.random.split(jax.random.key(seed))
    rows = jax.random.normal(keys[0], (num_rows, num_columns))
    solution = jax.random.normal(keys[1], (num_columns,))
    return rows, rows @ solution, solution
