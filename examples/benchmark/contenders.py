"""Who races: tuned grids, others that need no step size, and ours, all at defaults."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

import optaxls
from examples.benchmark import rivals
from examples.benchmark.gen import gen
from examples.benchmark.task import Task

Make = Callable[[Any, Task], optax.GradientTransformation]


class Contender(NamedTuple):
    """An optimizer, or a grid of them.

    Attributes:
        name: as in the tables.
        make: `(step size, task) -> optimizer`.
        step_sizes: the grid; one NaN for those that need none.
        trial_cost: forward passes that a trial of its search takes.
        evaluate_at: `(state, params) -> params` that it returns to its user.
        begin_with: `params -> params`, those that it trains, from those of the task.
    """

    name: str
    make: Make
    step_sizes: tuple[float, ...] = (float("nan"),)
    trial_cost: int = 1
    evaluate_at: Callable[[Any, Any], Any] = lambda state, params: params
    begin_with: Callable[[Any], Any] = lambda params: params


# Half a decade lies between two of them.
SGD_GRID = tuple(float(s) for s in np.logspace(-2.5, 0, 6))
ADAM_GRID = tuple(float(s) for s in np.logspace(-3.5, -1, 6))
WEIGHT_DECAY = 0.1
_WARM_UP = 0.05


def _sgd(size: Any, task: Task) -> optax.GradientTransformation:
    del task
    return optax.sgd(size, momentum=0.9)


def _adam(size: Any, task: Task) -> optax.GradientTransformation:
    del task
    return optax.adam(size)


def _adamw(size: Any, task: Task) -> optax.GradientTransformation:
    del task
    return optax.adamw(size, weight_decay=WEIGHT_DECAY)


def _cosine(make: Make) -> Make:
    """A linear warm-up, then half a cosine to zero at the end of the budget."""

    def with_decay(size: Any, task: Task) -> optax.GradientTransformation:
        warm = _WARM_UP * task.num_steps

        def schedule(count: Any) -> Any:
            done = (count - warm) / (task.num_steps - warm)
            falling = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(done, 0, 1)))
            return size * jnp.minimum((count + 1) / warm, falling)

        return make(schedule, task)

    return with_decay


CONSTANT_GRIDS = (
    Contender("sgd", _sgd, SGD_GRID),
    Contender("adam", _adam, ADAM_GRID),
    Contender("adamw", _adamw, ADAM_GRID),
)
COSINE_GRIDS = (
    Contender("sgd_cosine", _cosine(_sgd), SGD_GRID),
    Contender("adam_cosine", _cosine(_adam), ADAM_GRID),
    Contender("adamw_cosine", _cosine(_adamw), ADAM_GRID),
)


def _plain(name: str, factory: Callable[[], Any], **settings: Any) -> Contender:
    return Contender(name, lambda size, task: factory(), **settings)


def _optax_backtracking() -> optax.GradientTransformation:
    search = optax.scale_by_backtracking_linesearch(max_backtracking_steps=15)
    return optax.chain(optax.sgd(1.0), search)


def _over_the_run(
    name: str, factory: Callable[[int], Any], **settings: Any
) -> Contender:
    """One that anneals, so it has to know how many steps it will make."""
    return Contender(name, lambda size, task: factory(task.num_steps), **settings)


PEERS = (
    _plain("prodigy", optax.contrib.prodigy),
    _plain(
        "mechanic_adam",
        lambda: optax.contrib.mechanize(optax.adam(1.0), weight_decay=0.0),
    ),
    _plain("dadapt_adamw", optax.contrib.dadapt_adamw),
    _plain("momo_adam", optax.contrib.momo_adam),
    _plain("dowg", optax.contrib.dowg),
    _plain("cocob", optax.contrib.cocob),
    _plain(
        "schedule_free_adamw",
        optax.contrib.schedule_free_adamw,
        evaluate_at=optax.contrib.schedule_free_eval_params,
    ),
    _plain("optax_backtracking", _optax_backtracking),
    _plain("optax_polyak", optax.polyak_sgd),
    _plain("gen", gen),
    _over_the_run("gen_linear", gen),
    _plain("muon_authors", rivals.muon),
    _plain("distance_adaptive_muon", rivals.distance_adaptive_muon),
    _over_the_run("ademamix", rivals.ademamix),
    _over_the_run("nadamw", rivals.nadamw),
    _over_the_run(
        "schedule_free_warm_up",
        rivals.schedule_free_warm_up,
        evaluate_at=optax.contrib.schedule_free_eval_params,
    ),
)


def _per_epoch(name: str, factory: Callable[..., Any], **settings: Any) -> Contender:
    def make(size: Any, task: Task) -> optax.GradientTransformation:
        del size
        return factory(steps_per_epoch=len(task.split.x_train) / task.batch_size)

    return Contender(name, make, **settings)


def _auto(name: str, factory: Callable[[], Any], **settings: Any) -> Contender:
    return _plain(name, factory, evaluate_at=optaxls.eval_params, **settings)


def _clipped_auto() -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(1.0), optaxls.auto())


OURS = (
    _auto("auto", optaxls.auto),
    _auto("auto_weight_decay", lambda: optaxls.auto(weight_decay=WEIGHT_DECAY)),
    _auto("auto_clipping", _clipped_auto),
    _auto(
        "auto_bfloat16",
        optaxls.auto,
        begin_with=lambda params: optax.tree.cast(params, jnp.bfloat16),
    ),
    _plain("ponos", optaxls.ponos),
    _plain("sps", optaxls.sps),
    _plain("sls_momentum", optaxls.sls_momentum),
    _plain("adam_sps", optaxls.adam_sps),
    _plain("adam_ponos", optaxls.adam_ponos),
    _plain("salsa", optaxls.salsa),
    _per_epoch("sls", optaxls.sls),
    _per_epoch("sls_goldstein", optaxls.sls_goldstein),
    _per_epoch("sls_extragradient", optaxls.sls_extragradient, trial_cost=3),
    _per_epoch("adam_sls", optaxls.adam_sls),
)


class Direction(NamedTuple):
    """A direction to free of its step size: its own grid, and `auto` along it."""

    grid: Contender
    freed: Contender


def _direction(name: str, factory: Callable[[], Any], largest: float) -> Direction:
    def fixed(size: Any, task: Task) -> optax.GradientTransformation:
        del task
        return optax.chain(factory(), optax.scale_by_learning_rate(size))

    def freed(size: Any, task: Task) -> optax.GradientTransformation:
        del size, task
        return optaxls.auto(factory())

    return _beside(name, fixed, freed, largest)


def _beside(name: str, fixed: Make, freed: Make, largest: float) -> Direction:
    sizes = tuple(float(s) for s in largest * np.logspace(-3.5, 0, 8))
    found = Contender(f"auto({name})", freed, evaluate_at=optaxls.eval_params)
    return Direction(Contender(name, fixed, sizes), found)


def _hyperball(largest: float) -> Direction:
    """Adam's direction, as long as the matrix that it turns: sizes are angles."""

    def turned() -> optax.GradientTransformation:
        return optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio())

    def fixed(size: Any, task: Task) -> optax.GradientTransformation:
        del task
        step = optax.scale_by_learning_rate(size)
        return optax.chain(turned(), step, rivals.keep_lengths())

    def freed(size: Any, task: Task) -> optax.GradientTransformation:
        del size, task
        return optaxls.auto(turned(), path=optaxls.along_sphere())

    return _beside("hyperball", fixed, freed, largest)


def _muon() -> optax.GradientTransformation:
    """Muon for matrices, Adam for the rest; optax has them as a whole optimizer."""
    return optax.chain(optax.contrib.muon(1.0), optax.scale(-1.0))


DIRECTIONS = (
    _direction("gradient", optax.identity, 10**1.5),
    _direction("heavy_ball", lambda: optax.trace(0.9), 10**0.5),
    _direction("sign", optax.scale_by_sign, 10**-0.5),
    _direction("lion", optax.scale_by_lion, 10**-0.5),
    _direction("rms", optax.scale_by_rms, 10**-0.5),
    _direction("muon", _muon, 10**0.5),
    _hyperball(10**0.5),
)


def _searching(name: str, search: Any) -> Contender:
    """SLS with this way to go on from a rejected trial."""

    def make(size: Any, task: Task) -> optax.GradientTransformation:
        del size
        per_epoch = len(task.split.x_train) / task.batch_size
        first = optaxls.grow(1.0, 2.0, steps_per_epoch=per_epoch)
        rule = optaxls.scale_by_line_search(optaxls.armijo(0.1), first, search)
        return optax.chain(optax.scale(-1.0), rule)

    return Contender(name, make)


SEARCHES = (
    _searching("backtracking", optaxls.backtracking()),
    _searching("adaptive_backtracking", optaxls.adaptive_backtracking()),
)
