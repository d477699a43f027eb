"""Rows of the contract for paths that are not straight."""

import optax

import optaxls
from tests.cases import SEARCHED, Case, case

LASSO = optaxls.prox.l1(0.01)
# The start of the contract's quadratic lies on its border.
BOX = optaxls.along_projection(optaxls.prox.box(-0.5, 2.0))
# Matrices on a sphere, other leaves along a line.
TURNED = optax.chain(optax.scale_by_adam(), optax.scale_by_trust_ratio())
SPHERE = {"direction": TURNED, "path": optaxls.along_sphere()}

ROWS: dict[str, Case] = {
    "prox_sgd": case(optaxls.prox_sgd, SEARCHED, prox=LASSO, steps_per_epoch=10.0),
    "prox_adam": case(
        optaxls.prox_adam, SEARCHED, prox=LASSO, steps_per_epoch=10.0, b1=0.9
    ),
    "fista": case(optaxls.fista, SEARCHED, True, prox=LASSO),
    "owl_qn": case(optaxls.owl_qn, SEARCHED, weight=0.01),
    "two_metric": case(optaxls.two_metric, SEARCHED, lower=-0.5, upper=2.0),
    "spg": case(optaxls.spg, SEARCHED, prox=LASSO),
    "pqn": case(optaxls.pqn, SEARCHED, prox=LASSO),
    "projected_ponos": case(optaxls.ponos, SEARCHED, path=BOX),
    "projected_auto": case(optaxls.auto, ("value", "grad"), True, path=BOX),
    "turned_auto": case(optaxls.auto, ("value", "grad"), True, **SPHERE),
}
# Their ``value`` and ``trial_value`` have the penalty in them.
PENALISED = ("prox_sgd", "prox_adam", "fista", "owl_qn", "spg", "pqn")
