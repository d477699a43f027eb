"""Reference options that optaxls has no name for, written as a user would.

Each is made of public shapes only: initial steps and conditions are named tuples of
pure functions, usually wrapped around one of the library's own.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import optaxls
from optaxls import Condition, InitialStep, Origin, Outcome, Trial, Verdict
from tests.goldens.replay import Data


class Counted(NamedTuple):
    """Steps made, and the memory of the wrapped rule."""

    num_steps: jax.Array
    inner: Any


def _zero() -> jax.Array:
    return jnp.zeros((), jnp.int32)


def restart_each_epoch(initial_step_size: Any, steps_per_epoch: Any) -> InitialStep:
    """The last step size, but the initial one at the start of each epoch (AdaSLS 3)."""
    inner = optaxls.grow(initial_step_size, 1.0)

    def init(params):
        return Counted(_zero(), inner.init(params))

    def propose(memory, origin):
        starts = memory.num_steps % steps_per_epoch == 0
        return jnp.where(starts, initial_step_size, inner.propose(memory.inner, origin))

    def commit(memory, origin, outcome):
        kept = inner.commit(memory.inner, origin, outcome)
        return Counted(memory.num_steps + 1, kept)

    return InitialStep(init, propose, commit, uses=())


class Stored(NamedTuple):
    """Steps made, the step size last applied, and the memory of the wrapped rule."""

    num_steps: jax.Array
    last_step: jax.Array
    inner: Any


def reuse_between(rule: InitialStep, period: int) -> InitialStep:
    """``rule`` every ``period`` steps, in between the step size last applied."""

    def init(params):
        return Stored(_zero(), jnp.zeros(()), rule.init(params))

    def propose(memory, origin):
        fresh = rule.propose(memory.inner, origin)
        due = memory.num_steps % period == 0
        return jnp.where(due, fresh, memory.last_step)

    def commit(memory, origin, outcome):
        due = memory.num_steps % period == 0
        inner = rule.commit(memory.inner, origin, outcome)
        applied = jnp.where(outcome.accepted, outcome.trial.step_size, 0)
        step_size = jnp.where(due, applied, memory.last_step)
        return Stored(memory.num_steps + 1, step_size, inner)

    return InitialStep(init, propose, commit, rule.uses)


class LastStep(NamedTuple):
    """The last step size (0: none), squared gradient norm and decrease."""

    last_step: jax.Array
    grad_sqnorm: jax.Array
    decrease: jax.Array


def _last_step(propose: Callable[[LastStep, Origin], jax.Array]) -> InitialStep:
    def init(params):
        del params
        return LastStep(jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))

    def commit(memory: LastStep, origin: Origin, outcome: Outcome) -> LastStep:
        del memory
        step_size = jnp.where(outcome.accepted, outcome.trial.step_size, 0)
        decrease = jnp.maximum(origin.value - outcome.trial.value, 0)
        return LastStep(step_size, origin.grad_sqnorm, decrease)

    def floored(memory, origin):
        return jnp.maximum(propose(memory, origin), 1e-8)

    return InitialStep(init, floored, commit)


def same_first_order_change(initial_step_size: Any) -> InitialStep:
    """``s ||g_prev||^2 / ||g||^2``: Nocedal and Wright (3.59) (PoNoS reset 3)."""

    def propose(memory, origin):
        ratio = memory.last_step * memory.grad_sqnorm / origin.grad_sqnorm
        return jnp.where(memory.last_step > 0, ratio, initial_step_size)

    return _last_step(propose)


def twice_normalised_decrease(
    initial_step_size: Any, polyak_c: Any, max_step_size: Any
) -> InitialStep:
    """``1.01 D / (c_p ||g_prev||^4)``: the doubled normalisation of PoNoS reset 4."""

    def propose(memory, origin):
        del origin
        decrease = memory.decrease / jnp.maximum(memory.grad_sqnorm, 1e-8)
        guess = 1.01 * decrease / (polyak_c * memory.grad_sqnorm)
        guess = jnp.minimum(guess, max_step_size)
        return jnp.where(decrease > 0, guess, initial_step_size)

    return _last_step(propose)


class WindowedMean(NamedTuple):
    """Zhang and Hager's mean, its weight, the last losses (oldest first), steps."""

    mean_value: jax.Array
    total_weight: jax.Array
    recent_values: jax.Array
    num_steps: jax.Array


def windowed_zhang_hager(c: Any, decay: Any, window: int) -> Condition:
    """``zhang_hager`` that subtracts the losses older than ``window`` again."""

    def init(params):
        del params
        nothing = jnp.zeros(())
        return WindowedMean(nothing, nothing, jnp.zeros(window), _zero())

    def observe(memory: WindowedMean, origin: Origin) -> WindowedMean:
        forgotten = jnp.where(memory.num_steps >= window, decay**window, 0.0)
        old = decay * memory.total_weight
        weight = old + 1 - forgotten
        total = old * memory.mean_value + origin.value
        mean = (total - forgotten * memory.recent_values[0]) / weight
        recent = jnp.append(memory.recent_values[1:], origin.value)
        return WindowedMean(mean, weight, recent, memory.num_steps + 1)

    def judge(memory: WindowedMean, origin: Origin, trial: Trial) -> Verdict:
        reference = jnp.maximum(memory.mean_value, origin.value)
        return Verdict(trial.value - reference - c * trial.linear_change)

    return Condition(init, observe, judge, optaxls.keep_memory)


class SampleHistories(NamedTuple):
    """Past losses of each sample (newest first), how many, the reference, steps."""

    losses: jax.Array
    counts: jax.Array
    reference: jax.Array
    num_steps: jax.Array


def per_sample_window(
    c: Any, window: int, steps_per_epoch: int, data: Data
) -> Condition:
    """Grippo's test against each sample's own past losses (PoNoS ``trueNM``)."""

    def init(params):
        del params
        losses = jnp.zeros((data.num_samples, window))
        counts = jnp.zeros(data.num_samples, jnp.int32)
        return SampleHistories(losses, counts, jnp.zeros(()), _zero())

    def observe(memory: SampleHistories, origin: Origin) -> SampleHistories:
        batch = data.batch_idx[memory.num_steps]
        past, counts = memory.losses[batch], memory.counts[batch]
        # Oldest first, a short history repeating its newest entry.
        back = jnp.maximum(counts[:, None] - 1 - jnp.arange(window), 0)
        sums = jnp.sum(jnp.take_along_axis(past, back, axis=1), axis=0)
        largest = jnp.max(jnp.where(jnp.arange(window) < counts[0], sums, 0))
        old_enough = memory.num_steps > steps_per_epoch
        reference = jnp.where(old_enough, jnp.maximum(origin.value, largest), -jnp.inf)
        present = data.sample_losses(origin.params, batch) / batch.shape[0]
        newest = jnp.concatenate([present[:, None], past[:, :-1]], axis=1)
        return SampleHistories(
            memory.losses.at[batch].set(newest),
            memory.counts.at[batch].set(jnp.minimum(counts + 1, window)),
            jnp.maximum(reference, origin.value),
            memory.num_steps + 1,
        )

    def judge(memory: SampleHistories, origin: Origin, trial: Trial) -> Verdict:
        del origin
        return Verdict(trial.value - memory.reference - c * trial.linear_change)

    return Condition(init, observe, judge, optaxls.keep_memory)


def measured(condition: Condition, decrease: Callable[[Origin], Any]) -> Condition:
    """``condition`` with another measure of decrease in place of minus the slope."""

    def judge(memory, origin, trial):
        change = -trial.step_size * decrease(origin)
        return condition.judge(memory, origin, trial._replace(linear_change=change))

    return condition._replace(judge=judge)


class Preconditioned(NamedTuple):
    """Adam's second moment, steps made, and the memory of the wrapped rule."""

    second_moment: Any
    num_steps: jax.Array
    inner: Any


def _second_moment(memory: Preconditioned, origin: Origin, b2: float) -> Preconditioned:
    v = jax.tree.map(
        lambda v, g: b2 * v + (1 - b2) * g**2, memory.second_moment, origin.grad
    )
    return Preconditioned(v, memory.num_steps + 1, memory.inner)


def _preconditioned_norm(memory: Preconditioned, origin: Origin, b2: float):
    """``sum_j P_j g_j^2``, whatever direction is searched."""
    correction = 1 - b2 ** memory.num_steps.astype(origin.value.dtype)

    def leaf(v, g):
        return jnp.sum(g**2 / (jnp.sqrt(v / correction) + 1e-8))

    norms = jax.tree.map(leaf, memory.second_moment, origin.grad)
    return jnp.sum(jnp.stack(jax.tree.leaves(norms)))


def _preconditioned_init(inner: Callable) -> Callable:
    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return Preconditioned(zeros, _zero(), inner(params))

    return init


def propose_by_preconditioned_norm(rule: InitialStep, b2: float) -> InitialStep:
    """``rule`` that reads ``sum P g^2`` where it asks for minus the slope."""

    def propose(memory, origin):
        now = _second_moment(memory, origin, b2)
        slope = -_preconditioned_norm(now, origin, b2)
        return rule.propose(memory.inner, origin._replace(slope=slope))

    def commit(memory, origin, outcome):
        now = _second_moment(memory, origin, b2)
        return now._replace(inner=rule.commit(memory.inner, origin, outcome))

    return InitialStep(_preconditioned_init(rule.init), propose, commit, rule.uses)


def judge_by_preconditioned_norm(condition: Condition, b2: float) -> Condition:
    """``condition`` whose sufficient decrease is ``c eta sum P g^2``."""

    def observe(memory, origin):
        now = _second_moment(memory, origin, b2)
        return now._replace(inner=condition.observe(memory.inner, origin))

    def judge(memory, origin, trial):
        change = -trial.step_size * _preconditioned_norm(memory, origin, b2)
        replaced = trial._replace(linear_change=change)
        return condition.judge(memory.inner, origin, replaced)

    def commit(memory, origin, outcome):
        return memory._replace(inner=condition.commit(memory.inner, origin, outcome))

    return Condition(_preconditioned_init(condition.init), observe, judge, commit)
