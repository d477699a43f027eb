"""A Gaussian posterior with a full covariance as an optax transformation."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optaxls._core import trees
from optaxls._core.arguments import (
    hold_integers,
    require_arguments,
    require_same_leaves,
)
from optaxls._core.loss import as_scalar
from optaxls.directions.natural._diagonal import Numbers
from optaxls.directions.natural._full import (
    FullPosteriorState,
    init_full,
    mean_hessian,
    moved,
    natural_direction,
    objective,
)
from optaxls.directions.natural._noise import num_samples_of
from optaxls.parts.paths._gaussian import Gaussian
from optaxls.parts.types import Params


def _require(name: str, searches: bool, params: Any, given: dict[str, Any]) -> None:
    """Raises TypeError unless there is what the step needs."""
    known = given.get("hessian") is not None
    needs = ("value", "value_fn") if searches else () if known else ("value_fn",)
    require_arguments(name, params=params, **{key: given.get(key) for key in needs})
    if searches and known:
        raise TypeError(f"{name}: a search cannot use hessian: leave it to value_fn")


def _curvature(
    name: str, state: FullPosteriorState, params: Params, given: dict[str, Any]
) -> jax.Array:
    """The mean Hessian: as it was passed, or at the samples of this step."""
    hessian, dtype = given.get("hessian"), state.factor.dtype
    if hessian is None:
        draws = state.draws(num_samples_of(given.get("sample_grads")))
        return mean_hessian(given["value_fn"], params, draws)
    if jnp.shape(hessian) != state.factor.shape:
        raise TypeError(
            f"{name}: hessian must have the shape {state.factor.shape}, got "
            f"{jnp.shape(hessian)}"
        )
    return jnp.asarray(hessian, dtype)


def _for_the_search(
    state: FullPosteriorState, params: Params, updates: Params, given: dict[str, Any]
) -> dict[str, Any]:
    """Value, gradient and function of the negative ELBO at the noise of this step."""
    sample_grads = given.get("sample_grads")
    if sample_grads is None:
        sample_grads = jax.tree.map(lambda leaf: leaf[None], updates)
    problem = objective(
        state,
        params,
        value=as_scalar(given["value"], state.factor.dtype),
        value_fn=given["value_fn"],
        grads=updates,
        sample_grads=sample_grads,
        num_samples=num_samples_of(sample_grads),
    )
    return problem._asdict()


def full_posterior(
    name: str,
    numbers: Numbers,
    key: Any,
    step_rule: optax.GradientTransformationExtraArgs,
    searches: bool,
) -> optax.GradientTransformationExtraArgs:
    """Moves mean and precision along one path, by the step size of ``step_rule``.

    With ``searches`` it gets the negative ELBO at the noise of this step.
    """

    def update(
        updates: Params, state: Any, params: Any = None, **given: Any
    ) -> tuple[Params, Any]:
        _require(name, searches, params, given)
        updates = hold_integers(updates, params)
        require_same_leaves(name, updates, params=params)
        curvature = _curvature(name, state, params, given)
        direction = natural_direction(state, params, updates, curvature)
        at = Gaussian(jax.tree.map(jnp.asarray, params), state.factor)
        if searches:
            known = _for_the_search(state, params, updates, given)
        else:
            value = given.get("value")
            known = {"value": 0.0 if value is None else value}
        found: Any
        found, rule_state = step_rule.update(direction, state.step_rule, at, **known)
        state = moved(state, found, numbers, rule_state)
        return trees.cast_like(found.mean, params), state

    init = functools.partial(init_full, name, numbers, key, step_rule)
    return optax.GradientTransformationExtraArgs(init, update)
