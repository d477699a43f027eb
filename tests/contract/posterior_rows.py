"""Optimizers that train a posterior: rows of the contract table.

The table takes gradients at the params, not at samples: with this many examples the
two hardly differ. ``vogn`` takes gradients of single examples, which the table has not:
its promises are tested in ``tests/training/variational``.
"""

import optaxls
from tests.cases import SEARCHED, Case, case

_many = {"ess": 1e4}

ROWS: dict[str, Case] = {
    "ivon": case(optaxls.ivon, (), learning_rate=0.3, **_many),
    "ivon_searched": case(
        optaxls.ivon, SEARCHED[::2], learning_rate=None, hessian_init=1.2, **_many
    ),
    "von": case(optaxls.von, ("value_fn",), learning_rate=0.3, **_many),
    "iblr": case(optaxls.iblr, ("value_fn",), learning_rate=0.3, **_many),
}
