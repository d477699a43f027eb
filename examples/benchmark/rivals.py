"""Optimizers of other authors, at their authors' defaults, written from formulas.

A factory that takes `num_steps` anneals over the run, whose length it has to know.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from examples.benchmark import roles


def ademamix(num_steps: int) -> optax.GradientTransformation:
    """AdEMAMix: Adam with a second, slow momentum, mixed in over the whole run.

    The factor of the slow momentum grows linearly from 0 to 5, its half-life linearly
    from that of 0.9 to that of 0.9999. The step size is 1e-3, constant, and there is
    no weight decay: defaults of the authors' optax code, apple/ml-ademamix. Their
    PyTorch code has a factor of 2, their README one of 8 with weight decay 0.1.

    Reference:
      Pagliardini et al., The AdEMAMix Optimizer, arXiv:2409.03137.
    """

    def half_life(decay: float) -> float:
        return math.log(0.5) / math.log(decay)

    first, last = half_life(0.9), half_life(0.9999)

    def b3(count: Any) -> jax.Array:
        share = jnp.minimum(count / num_steps, 1.0)
        return 0.5 ** (1 / (first + share * (last - first)))

    alpha = optax.linear_schedule(0.0, 5.0, num_steps)
    return optax.contrib.ademamix(1e-3, b3=b3, alpha=alpha)


# What AlgoPerf's self-tuning baseline and the winner of that track share.
_DECAY_OF_SQUARES = 0.9955159689799007
_WEIGHT_DECAY = 0.08121616522670176
_WARM_UP = 0.02


def nadamw(num_steps: int) -> optax.GradientTransformation:
    """NadamW with a warm-up of 2 % of the steps and a cosine to zero.

    All constants are those of AlgoPerf's baseline of the self-tuning track
    (`prize_qualification_baselines/self_tuning`): step size 0.00175, decays 0.9327 and
    0.9955, weight decay 0.0812. Its dropout and its label smoothing belong to the
    models. Its bias correction of the momentum differs from optax's in the warm-up.
    """
    size = 0.0017486387539278373
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, size, int(_WARM_UP * num_steps), num_steps
    )
    return optax.nadamw(
        schedule, 1 - 0.06733926164, _DECAY_OF_SQUARES, weight_decay=_WEIGHT_DECAY
    )


def schedule_free_warm_up(num_steps: int) -> optax.GradientTransformation:
    """Schedule-Free AdamW as it won AlgoPerf's self-tuning track, with a warm-up.

    The step size is 0.0025, the warm-up 1.5 % of the steps, and step `k` has the weight
    `k^0.75` times the square of its step size in the average. The authors decay the
    weights at the average, optax where the gradient is taken.

    The defaults of optax are those of the package schedulefree 1.4.1. It has no warm-up
    by default but recommends one.

    Reference:
      Defazio et al., The Road Less Scheduled, arXiv:2405.15682.
    """
    steps = max(int(0.75 * _WARM_UP * num_steps), 1)

    def warm_up(step: Any) -> jax.Array:
        return jnp.minimum(step / steps, 1.0)

    base = optax.chain(
        optax.scale_by_rms(
            _DECAY_OF_SQUARES, 1e-8, eps_in_sqrt=False, bias_correction=True
        ),
        optax.add_decayed_weights(_WEIGHT_DECAY),
        optax.scale_by_learning_rate(lambda count: 0.0025 * warm_up(count + 1)),
    )
    # optax squares this "step size" to weigh a step, and uses it for nothing else.
    return optax.contrib.schedule_free(base, lambda k: k**0.375 * warm_up(k), b1=0.9)


def _with_adam(matrices: optax.GradientTransformation) -> optax.GradientTransformation:
    """These for hidden matrices, the Adam that comes with Muon for all other leaves."""
    adam = optax.adamw(3e-4, 0.9, 0.95, 1e-10, weight_decay=0.01)
    return optax.partition({"hidden": matrices, "other": adam}, roles.labels)


def _orthogonalized() -> optax.GradientTransformation:
    """Muon's direction: a Nesterov momentum with all singular values made one."""
    return optax.contrib.scale_by_muon(weight_dimension_numbers=roles.axes)


def muon() -> optax.GradientTransformation:
    """Muon for hidden matrices, AdamW for embeddings, heads and vectors.

    The step sizes 0.02 and 3e-4, the momentum 0.95, the decays 0.9 and 0.95 and the
    weight decay 0.01 are those of the authors' README (KellerJordan/Muon). A matrix
    with more outputs than inputs takes longer steps, by the root of the quotient.
    """

    def stretched(kernel: jax.Array, number: int) -> jax.Array:
        rows, columns = roles.matrix(kernel, number).shape
        return kernel * max(1.0, columns / rows) ** 0.5

    def scaled(updates: Any, params: Any) -> Any:
        del params
        return jax.tree.map(stretched, updates, roles.inputs(updates))

    return _with_adam(
        optax.chain(
            _orthogonalized(),
            optax.stateless(scaled),
            optax.add_decayed_weights(0.01),
            optax.scale_by_learning_rate(0.02),
        )
    )


def _bounded(updates: Any, params: Any) -> Any:
    """At most 0.02 long in the root mean square of the singular values."""
    del params
    matrices = jax.tree.map(roles.matrix, updates, roles.inputs(updates))
    rank = sum(min(matrix.shape) for matrix in jax.tree.leaves(matrices))
    longest = 0.02 * max(rank, 1) ** 0.5
    length = optax.tree.norm(updates)
    factor = jnp.where(length > longest, longest / length, 1.0)
    return jax.tree.map(lambda u: factor.astype(u.dtype) * u, updates)


def distance_adaptive_muon() -> optax.GradientTransformation:
    """Muon, its step set by the distance come so far: a guess at the paper's formula.

    The text of the paper could not be read, only its abstract, which has a trust region
    whose radius is the "radius explored by the trajectory". So this is DoG along Muon's
    direction. A step is `r / sqrt(G)`: `r` is the largest distance of the hidden
    matrices from their start, `G` the sum of the squared norms of all directions so
    far, both Frobenius norms. A direction has singular values of about one, so its
    squared norm is about the rank. Hence the step is about the root mean square of the
    singular values of that distance, divided by the root of the number of steps.

    Someone else's implementation, which names the paper, agrees as far as that
    quotient, but has a radius for each matrix. It also begins at 1e-3 and has a bound,
    in other units. Here the bound is the step size of `muon`: without one the
    loss of `digits_mlp` ended at 4e16. Matrices have no weight decay, all other leaves
    take the steps of `muon`.

    Reference:
      Demidovich et al., Distance-Aware Muon, arXiv:2605.18999, abstract; Ivgi et al.,
      DoG is SGD's Best Friend, arXiv:2302.12022.
    """
    dog = optax.contrib.dog(init_step=("learning_rate", 1e-3))
    return _with_adam(optax.chain(_orthogonalized(), dog, optax.stateless(_bounded)))


def keep_lengths() -> optax.GradientTransformation:
    """Takes each matrix back to the length that it had before the update.

    Reference:
      Hyperball, arXiv:2606.16899.
    """

    def leaf(update: jax.Array, w: jax.Array) -> jax.Array:
        if w.ndim < 2:
            return update
        length, new = jnp.linalg.norm(w), jnp.linalg.norm(w + update)
        ratio = jnp.where((length > 0) & (new > 0), length / new, 1)
        return (w + update) * ratio - w

    return optax.stateless(lambda updates, params: jax.tree.map(leaf, updates, params))
