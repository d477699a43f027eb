"""Samples of the posterior that an optimizer trains."""

from typing import Any

import jax

from optaxls._core import checks, trees
from optaxls.parts.types import Params


def _is_posterior(node: Any) -> bool:
    return hasattr(type(node), "posterior_noise")


def posterior_sample(
    opt_state: Any, params: Params, num_samples: int = 1, *, key: Any = None
) -> Params:
    """Draws params from the posterior of ``ivon``, ``vogn``, ``von`` or ``iblr``.

    The noise is a function of key and count in the state. So the samples are those at
    which the next ``update`` takes its gradients to be, and nothing is stored of them.
    Before the next update a second call returns the same.

    Args:
      opt_state: the optimizer's state, also inside a chain.
      params: the mean of the posterior, those that are trained.
      num_samples: >= 1.
      key: a ``jax.random.key`` or an integer for other samples than those of the next
        update, such as for predictions.

    Returns:
      With ``num_samples=1`` a tree like params, else leaves with a leading axis of
      samples. Integer leaves are those of ``params``.

    Raises:
      ValueError: ``num_samples`` lies outside its range. TypeError: the state has no
      posterior, or several.

    Cost:
      One draw of noise like params for each sample.

    Example:
      >>> import jax, jax.numpy as jnp, optaxls
      >>> w = jnp.zeros(1000)
      >>> state = optaxls.ivon(ess=24).init(w)           # precision 24 + 1
      >>> samples = optaxls.posterior_sample(state, w, 10)
      >>> print(samples.shape, round(float(jnp.std(samples)), 1))
      (10, 1000) 0.2
      >>> bool(jnp.all(optaxls.posterior_sample(state, w) == samples[0]))
      True

    Reference:
      No publication; defined here.
    """
    checks.require_integer("num_samples", num_samples, 1)
    nodes = jax.tree.leaves(opt_state, is_leaf=_is_posterior)
    nodes = [node for node in nodes if _is_posterior(node)]
    if len(nodes) != 1:
        raise TypeError(
            f"posterior_sample: the state holds {len(nodes)} posteriors, not one. It "
            "must be that of optaxls.ivon, vogn, von or iblr."
        )
    noise = nodes[0].posterior_noise(params, num_samples, key)
    if num_samples == 1:
        noise = jax.tree.map(lambda leaf: leaf[0], noise)
        return trees.cast_like(trees.plus(params, noise), params)
    return jax.vmap(lambda one: trees.cast_like(trees.plus(params, one), params))(noise)
