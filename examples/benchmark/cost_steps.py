"""The training steps that are timed: one jitted program for each contender."""

import importlib.util
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optaxls
from examples.benchmark.cost_models import Task

# Small enough that every first trial is accepted: all that search, search once.
STEP_SIZE = 1e-3

Step = Callable[[Any, Any], tuple[Any, jax.Array]]


class Contender(NamedTuple):
    """A way to train.

    Attributes:
        name: as in the table.
        step: builds `(carry, batch) -> (carry, loss)` for a task, not yet jitted.
        start: `(task, params) -> carry`, a tuple of params and the rest.
    """

    name: str
    step: Callable[[Task], Step]
    start: Callable[[Task, Any], Any]

    def jitted(self, task: Task) -> Any:
        """The step as a user would jit it: the old params and state given away."""
        return jax.jit(self.step(task), donate_argnums=0)

    def over_seeds(self, number: int) -> "Contender":
        """The same for several seeds at once, by `vmap`."""

        def step(task: Task) -> Step:
            one = jax.vmap(self.step(task), in_axes=(0, None))
            return lambda carry, batch: one(carry, batch)

        def start(task: Task, params: Any) -> Any:
            del params
            keys = jax.random.split(jax.random.key(0), number)
            return jax.vmap(lambda key: self.start(task, task.init(key)))(keys)

        return Contender(self.name, step, start)


def with_optimizer(name: str, optimizer: optax.GradientTransformation) -> Contender:
    """Any optax optimizer, in the loop that the README shows."""
    optimizer = optax.with_extra_args_support(optimizer)

    def step(task: Task) -> Step:
        def run(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            params, state = carry

            def value_fn(at: Any) -> jax.Array:
                return task.loss(at, batch)

            value, grad = jax.value_and_grad(value_fn)(params)
            updates, state = optimizer.update(
                grad, state, params, value=value, grad=grad, value_fn=value_fn
            )
            return (optax.apply_updates(params, updates), state), value

        return run

    return Contender(name, step, lambda task, params: (params, optimizer.init(params)))


def floor() -> Contender:
    """SGD and one forward pass at the new params: what one trial costs at least."""

    def step(task: Task) -> Step:
        def run(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            params, _ = carry
            value, grad = jax.value_and_grad(task.loss)(params, batch)
            params = jax.tree.map(lambda w, g: w - STEP_SIZE * g, params, grad)
            # In the carry, so that the forward pass is not optimized away.
            return (params, task.loss(params, batch)), value

        return run

    return Contender("floor", step, lambda task, params: (params, jnp.zeros(())))


def sgd() -> Contender:
    """Plain SGD."""
    return with_optimizer("SGD", optax.sgd(STEP_SIZE))


def adam() -> Contender:
    """Plain Adam."""
    return with_optimizer("Adam", optax.adam(STEP_SIZE))


def auto() -> Contender:
    """The rule that needs no step size: it searches in the first step only."""
    return with_optimizer("auto", optaxls.auto())


def one_trial(reset: str = "restart", name: str = "one trial") -> Contender:
    """SLS whose first trial is accepted in every step.

    Args:
        reset: where a search starts: "restart" always at the same step size, "keep" at
            the last one, which takes four more scalars of state.
        name: as in the table.
    """
    optimizer = optaxls.sls(steps_per_epoch=1, reset=reset, initial_step_size=STEP_SIZE)
    return with_optimizer(name, optimizer)


def gated(period: int) -> Contender:
    """One trial in each `period`-th step."""
    search = optaxls.scale_by_line_search(
        optaxls.armijo(0.1), optaxls.constant(STEP_SIZE), gate=optaxls.every(period)
    )
    return with_optimizer(f"every({period})", optax.chain(optax.scale(-1.0), search))


def natural(name: str, search: Any = None) -> Contender:
    """SLS at the paper's settings, with as many trials as it happens to need."""
    search = optaxls.backtracking() if search is None else search
    first = optaxls.grow(1.0, 2.0, steps_per_epoch=10)
    rule = optaxls.scale_by_line_search(optaxls.armijo(0.1), first, search)
    return with_optimizer(name, optax.chain(optax.scale(-1.0), rule))


def searches() -> list[Contender]:
    """Three ways to go on from a rejected trial, all else equal."""
    return [
        natural("backtracking"),
        natural("adaptive_backtracking", optaxls.adaptive_backtracking()),
        natural("parallel_candidates(8)", optaxls.parallel_candidates(8)),
    ]


def of_optax() -> Contender:
    """The backtracking of optax, pinned at its largest step size: one trial."""
    search = optax.scale_by_backtracking_linesearch(
        max_backtracking_steps=15, max_learning_rate=STEP_SIZE
    )
    return with_optimizer("optax", optax.chain(optax.scale(-1.0), search))


def of_jaxopt() -> Contender | None:
    """The Armijo SGD of jaxopt, pinned likewise; None where it is not installed."""
    if importlib.util.find_spec("jaxopt") is None:
        return None
    with warnings.catch_warnings():
        # It says on import that it is no longer maintained.
        warnings.simplefilter("ignore")
        import jaxopt  # pyright: ignore[reportMissingImports]

    def solver(task: Task) -> Any:
        return jaxopt.ArmijoSGD(task.loss, max_stepsize=STEP_SIZE, maxls=15)

    def step(task: Task) -> Step:
        one = solver(task)

        def run(carry: Any, batch: Any) -> tuple[Any, jax.Array]:
            done = one.update(*carry, batch)
            return (done.params, done.state), done.state.value

        return run

    def start(task: Task, params: Any) -> Any:
        return params, solver(task).init_state(params, task.batch)

    return Contender("jaxopt", step, start)
