"""Shared by the combinator tests: our rules beside their NumPy references."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import optaxls
from tests import problems
from tests.interop import numpy_optimizers

Vector = np.ndarray

FACTORIES: dict[str, tuple[Callable[..., Any], dict[str, float]]] = {
    "sls": (optaxls.sls, {"steps_per_epoch": 10.0}),
    "ponos": (optaxls.ponos, {}),
    "sps": (optaxls.sps, {}),
    "adam_sls": (optaxls.adam_sls, {"steps_per_epoch": 10.0}),
    "salsa": (optaxls.salsa, {}),
}

# The order of the leaves: b, then both of w.
CURVATURES = np.array([2.0, 1.0, 4.0])
START = np.array([2.0, 1.0, -0.5])
NUM_STEPS = 3


def make(name: str) -> optax.GradientTransformationExtraArgs:
    factory, arguments = FACTORIES[name]
    return factory(**arguments)


def vector(tree: Any) -> Vector:
    """All leaves, one after another, in float64."""
    leaves = [np.ravel(np.asarray(leaf)) for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves).astype(float)


def loss(x: Vector) -> float:
    """``problems.quadratic`` of a vector."""
    return 0.5 * float(CURVATURES @ x**2)


def feed(optimizer, state, params, loss_fn=problems.quadratic):
    """``update`` with all that a search asks for; un-jitted: nothing to compile."""
    value, grad = jax.value_and_grad(loss_fn)(params)
    return optimizer.update(
        grad, state, params, value=value, grad=grad, value_fn=loss_fn
    )


def observed(optimizer, num_steps: int = NUM_STEPS) -> tuple[list[Vector], Any]:
    """Params after every step, as vectors, and the last state."""
    params = problems.quadratic_params()
    state, points = optimizer.init(params), []
    for _ in range(num_steps):
        updates, state = feed(optimizer, state, params)
        params = optax.apply_updates(params, updates)
        points.append(vector(params))
    return points, state


def unchanged(k: int, x: Vector, u: Vector) -> Vector:
    """Nothing before the rule, or nothing after it."""
    del k, x
    return u


def every_step(k: int) -> bool:
    return k >= 0


def expected(
    name: str,
    before: Callable[[int, Vector, Vector], Vector] = unchanged,
    after: Callable[[int, Vector, Vector], Vector] = unchanged,
    active: Callable[[int], bool] = every_step,
    num_steps: int = NUM_STEPS,
) -> list[Vector]:
    """The reference's points: ``before`` makes of the gradient what the rule sees,
    ``after`` makes of its displacement what is applied."""
    rule, x, points = numpy_optimizers.RULES[name](), START, []
    for k in range(num_steps):
        if active(k):
            grad = CURVATURES * x
            updates = before(k, x, grad)
            _, displacement = rule.step(x, updates, loss(x), grad, loss)
            x = x + after(k, x, displacement)
        points.append(x)
    return points


def assert_close(found, wanted) -> None:
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=3e-5)


class Combination(NamedTuple):
    """A combinator, and what it does to gradient, displacement and steps.

    ``before`` and ``after`` are factories: some of what they make has a memory.
    """

    wrap: Callable[[Any], Any]
    before: Callable[[], Callable] = lambda: unchanged
    after: Callable[[], Callable] = lambda: unchanged
    active: Callable[[int], bool] = every_step


class Momentum:
    """A running sum, as ``optax.trace(0.5)`` keeps it."""

    def __init__(self) -> None:
        self.total = np.zeros(3)

    def __call__(self, k, x, u):
        self.total = u + 0.5 * self.total
        return self.total


def clipped(limit):
    return lambda: lambda k, x, u: u * min(1.0, limit / np.linalg.norm(u))


def on_w(k, x, u):
    """The first entry of the vectors is ``b``."""
    return u * np.array([0.0, 1.0, 1.0])


def tripled_and_signs(k, x, u):
    return np.concatenate([np.sign(u[:1]), 3.0 * u[1:]])


def decayed(rate, k, x, u):
    return u + rate * x


def halved_from_the_second_step(k, x, u):
    return u * 0.5**k


FIRST_LEAF = {"w": False, "b": True}

COMBINATIONS = {
    "clip_before": Combination(
        lambda rule: optax.chain(optax.clip_by_global_norm(1.0), rule),
        before=clipped(1.0),
    ),
    "clip_after": Combination(
        lambda rule: optax.chain(rule, optax.clip_by_global_norm(0.5)),
        after=clipped(0.5),
    ),
    "schedule_after": Combination(
        lambda rule: optax.chain(rule, optax.scale_by_schedule(lambda k: 0.5**k)),
        after=lambda: halved_from_the_second_step,
    ),
    "named_chain": Combination(
        lambda rule: optax.named_chain(
            ("clip", optax.clip_by_global_norm(1.0)),
            ("rule", rule),
            ("decay", optax.add_decayed_weights(-0.1)),
        ),
        before=clipped(1.0),
        after=lambda: lambda k, x, u: decayed(-0.1, k, x, u),
    ),
    "momentum_before": Combination(
        lambda rule: optax.chain(optax.trace(0.5), rule), before=Momentum
    ),
    "momentum_after": Combination(
        lambda rule: optax.chain(rule, optax.trace(0.5)), after=Momentum
    ),
    "decay_in_the_direction": Combination(
        lambda rule: optax.chain(optax.add_decayed_weights(0.3), rule),
        before=lambda: lambda k, x, u: decayed(0.3, k, x, u),
    ),
    "decay_after": Combination(
        lambda rule: optax.chain(rule, optax.add_decayed_weights(-0.1)),
        after=lambda: lambda k, x, u: decayed(-0.1, k, x, u),
    ),
    "partition_of_directions": Combination(
        lambda rule: optax.chain(
            optax.partition(
                {"signs": optax.scale_by_sign(), "tripled": optax.scale(3.0)},
                {"w": "tripled", "b": "signs"},
            ),
            rule,
        ),
        before=lambda: tripled_and_signs,
    ),
    "freeze_before": Combination(
        lambda rule: optax.chain(optax.freeze(FIRST_LEAF), rule), before=lambda: on_w
    ),
    "on_subset": Combination(
        lambda rule: optaxls.on_subset(rule, {"w": True, "b": False}),
        before=lambda: on_w,
    ),
    "reduce_on_plateau_after": Combination(
        lambda rule: optax.chain(
            rule, optax.contrib.reduce_on_plateau(0.5, patience=1, rtol=0.9999)
        ),
        after=lambda: halved_from_the_second_step,
    ),
    "conditionally_mask": Combination(
        lambda rule: optax.conditionally_mask(rule, lambda k: k % 2 == 0),
        active=lambda k: k % 2 == 0,
    ),
    "with_extra_args_support": Combination(optax.with_extra_args_support),
    "monitor": Combination(
        lambda rule: optax.chain(
            optax.snapshot("gradient_norm", optax.tree.norm),
            rule,
            optax.monitor({"step_norm": optax.tree.norm}),
        )
    ),
}
# The Polyak step undoes a clip, Adam the decay of a loss without mixed derivatives.
NOTHING_CHANGES = [(name, "with_extra_args_support") for name in FACTORIES]
NOTHING_CHANGES += [(name, "monitor") for name in FACTORIES] + [("sps", "clip_before")]
NOTHING_CHANGES += [(n, "decay_in_the_direction") for n in ("adam_sls", "salsa")]
