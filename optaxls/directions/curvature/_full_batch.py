"""The direction of L-BFGS where every step has the same loss."""

import functools
import operator
from typing import Any

import jax.numpy as jnp

from optaxls._core import trees
from optaxls._core.arguments import require_arguments
from optaxls.directions.curvature import _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.types import Params


def _tell(
    state: _pairs.PairsState,
    displacement: Params,
    report: Any,
    params: Params,
    *,
    grad: Any = None,
    **extra: Any,
) -> _pairs.PairsState:
    """Puts a step in, with the search's own second gradient.

    After a failed search all pairs are forgotten.
    """
    del extra
    require_arguments("lbfgs", grad=grad)
    after = _pairs.after_step(params, displacement, report.accepted)
    grads = grad, report.trial_grad
    new = _pairs.with_step(state, (params, after), grads, report.accepted)
    # A batch that is not finite says nothing of the pairs.
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in trees.inexact_leaves(grad)]
    failed = functools.reduce(operator.and_, finite, jnp.isfinite(report.value))
    failed &= ~report.accepted
    return new._replace(curvatures=jnp.where(failed, 0, new.curvatures))


def full_batch_pairs(*, memory_size: int = 10) -> DirectionPair:
    """The direction of L-BFGS, for a search whose trials have gradients.

    After a step :math:`s` the pair of :math:`s` and of the change of the gradient
    enters, both as the search found them. The next search would fail as the last one
    did, so after a failed one all pairs are forgotten.
    """
    return _pairs.remembering(memory_size, _tell)
