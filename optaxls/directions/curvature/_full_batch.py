"""The direction of L-BFGS where every step has the same loss."""

from typing import Any

from optaxls._core.arguments import require_arguments
from optaxls.directions.curvature import _pairs
from optaxls.directions.pairs import DirectionPair
from optaxls.parts.types import Params


def tell(
    state: _pairs.PairsState,
    displacement: Params,
    report: Any,
    params: Params,
    *,
    grad: Any = None,
    **extra: Any,
) -> _pairs.PairsState:
    """Puts a step in, with the search's own second gradient."""
    del extra
    require_arguments("lbfgs", grad=grad)

    def known(after: Params) -> Params:
        del after
        return report.trial_grad

    return _pairs.with_step(state, displacement, report, params, grad, known)


def full_batch_pairs(*, memory_size: int = 10) -> DirectionPair:
    """The direction of L-BFGS, for a search whose trials have gradients.

    After a step :math:`s` the pair of :math:`s` and of the change of the gradient
    enters, both as the search found them.
    """
    return _pairs.remembering(memory_size, tell)
