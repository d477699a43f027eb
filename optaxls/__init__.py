"""optaxls: step sizes that are found, not tuned, for optax."""

# ruff: noqa: I001  (grouped by what the names are for)

# Optimizers: whole compositions, one file per paper.
from optaxls.optimizers.acceleration.accelerated_sgd import (
    accelerated_sgd as accelerated_sgd,
)
from optaxls.optimizers.acceleration.multidimensional_backtracking import (
    multidimensional_backtracking as multidimensional_backtracking,
)
from optaxls.optimizers.adam_sls import adam_sls as adam_sls
from optaxls.optimizers.adam_sls import adam_sps as adam_sps
from optaxls.optimizers.auto import auto as auto
from optaxls.optimizers.curvature.full_batch import lbfgs as lbfgs
from optaxls.optimizers.curvature.lbfgs import stochastic_lbfgs as stochastic_lbfgs
from optaxls.optimizers.curvature.newton import hessian_free as hessian_free
from optaxls.optimizers.curvature.newton import newton as newton
from optaxls.optimizers.finite_sums.sag import sag as sag
from optaxls.optimizers.finite_sums.sag import saga as saga
from optaxls.optimizers.finite_sums.svrg import loopless_svrg as loopless_svrg
from optaxls.optimizers.finite_sums.svrg import svrg as svrg
from optaxls.optimizers.ponos import adam_ponos as adam_ponos
from optaxls.optimizers.ponos import ponos as ponos
from optaxls.optimizers.proximal.fista import fista as fista
from optaxls.optimizers.proximal.owl_qn import owl_qn as owl_qn
from optaxls.optimizers.proximal.pqn import pqn as pqn
from optaxls.optimizers.proximal.prox_sgd import prox_adam as prox_adam
from optaxls.optimizers.proximal.prox_sgd import prox_sgd as prox_sgd
from optaxls.optimizers.proximal.spg import spg as spg
from optaxls.optimizers.proximal.two_metric import two_metric as two_metric
from optaxls.optimizers.salsa import salsa as salsa
from optaxls.optimizers.sign_descent import sign_descent as sign_descent
from optaxls.optimizers.sls import sls as sls
from optaxls.optimizers.sls import sls_extragradient as sls_extragradient
from optaxls.optimizers.sls import sls_goldstein as sls_goldstein
from optaxls.optimizers.sls import sls_momentum as sls_momentum
from optaxls.optimizers.sps import sps as sps
from optaxls.optimizers.variational.diagonal import ivon as ivon
from optaxls.optimizers.variational.diagonal import vogn as vogn
from optaxls.optimizers.variational.full import iblr as iblr
from optaxls.optimizers.variational.full import von as von

# Training: for the loop around an optimizer.
from optaxls.training.accumulate import accumulate as accumulate
from optaxls.training.evaluation import eval_params as eval_params
from optaxls.training.growing import GrowingBatches as GrowingBatches
from optaxls.training.growing import growing_batches as growing_batches
from optaxls.training.metrics import metrics as metrics
from optaxls.training.deterministic.result import MinimizeHistory as MinimizeHistory
from optaxls.training.deterministic.result import MinimizeProgress as MinimizeProgress
from optaxls.training.deterministic.result import MinimizeResult as MinimizeResult
from optaxls.training.deterministic.result import StopReason as StopReason
from optaxls.training.deterministic.minimize import minimize as minimize
from optaxls.training.step import StepResult as StepResult
from optaxls.training.step import make_step as make_step
from optaxls.training.subset import on_subset as on_subset
from optaxls.training.surrogate.step import make_surrogate_step as make_surrogate_step
from optaxls.training.variational.posterior import posterior_sample as posterior_sample
from optaxls.training.variational.step import make_vi_step as make_vi_step

# Transforms: parts put together to a step-size rule, as optax transformations.
from optaxls.transforms.decayed import decayed as decayed
from optaxls.transforms.extragradient import (
    scale_by_extragradient as scale_by_extragradient,
)
from optaxls.transforms.momentum import heavy_ball as heavy_ball
from optaxls.transforms.momentum import nesterov as nesterov
from optaxls.transforms.preconditioned import (
    scale_by_preconditioned_search as scale_by_preconditioned_search,
)
from optaxls.transforms.proximal.keep_inside import keep_inside as keep_inside
from optaxls.transforms.searched import LineSearchResult as LineSearchResult
from optaxls.transforms.searched import line_search as line_search
from optaxls.transforms.searched import scale_by_line_search as scale_by_line_search
from optaxls.transforms.tail_averaged import tail_averaged as tail_averaged
from optaxls.transforms.two_directions import two_directions as two_directions
from optaxls.transforms.untested import scale_by_initial_step as scale_by_initial_step

# Directions: which way to go, before a search.
from optaxls.directions.acceleration.plane import scale_by_plane as scale_by_plane
from optaxls.directions.adam_moments import adam_moments as adam_moments
from optaxls.directions.cautious import cautious as cautious
from optaxls.directions.coordinates.greedy import (
    scale_by_greedy_coordinate as scale_by_greedy_coordinate,
)
from optaxls.directions.coordinates.pair import (
    scale_by_greedy_pair as scale_by_greedy_pair,
)
from optaxls.directions.guarded import guarded as guarded
from optaxls.directions.curvature.damping import Damping as Damping
from optaxls.directions.curvature.damping import adapted_damping as adapted_damping
from optaxls.directions.curvature.lbfgs import lbfgs_pairs as lbfgs_pairs
from optaxls.directions.curvature.newton import (
    scale_by_hessian_free as scale_by_hessian_free,
)
from optaxls.directions.curvature.newton import scale_by_newton as scale_by_newton
from optaxls.directions.finite_sums.reading import snapshot_due as snapshot_due
from optaxls.directions.finite_sums.reading import table_bytes as table_bytes
from optaxls.directions.pairs import DirectionPair as DirectionPair
from optaxls.directions.pairs import Directions as Directions
from optaxls.directions.pairs import as_searched as as_searched
from optaxls.directions.pairs import keep_state as keep_state
from optaxls.directions.pairs import with_momentum as with_momentum

# Conditions: when a trial is good enough.
from optaxls.parts.conditions.bounded import bounded as bounded
from optaxls.parts.conditions.monotone import always_accept as always_accept
from optaxls.parts.conditions.monotone import armijo as armijo
from optaxls.parts.conditions.monotone import goldstein as goldstein
from optaxls.parts.conditions.monotone import stateless_condition as stateless_condition
from optaxls.parts.conditions.nonmonotone import smoothed_armijo as smoothed_armijo
from optaxls.parts.conditions.nonmonotone import window_armijo as window_armijo
from optaxls.parts.conditions.nonmonotone import zhang_hager as zhang_hager
from optaxls.parts.conditions.quadratic import quadratic_bound as quadratic_bound
from optaxls.parts.conditions.slopes import wolfe as wolfe

# Initial steps: which step size to try first.
from optaxls.parts.initial_steps.barzilai_borwein import (
    barzilai_borwein as barzilai_borwein,
)
from optaxls.parts.initial_steps.hindsight import hindsight as hindsight
from optaxls.parts.initial_steps.polyak import polyak as polyak
from optaxls.parts.initial_steps.polyak import smoothed_polyak as smoothed_polyak
from optaxls.parts.initial_steps.simple import capped as capped
from optaxls.parts.initial_steps.simple import constant as constant
from optaxls.parts.initial_steps.simple import grow as grow
from optaxls.parts.initial_steps.simple import scheduled as scheduled
from optaxls.parts.initial_steps.slack import grow_when_slack as grow_when_slack

# Searches: how to go on from a trial.
from optaxls.parts.searches.backtracking import (
    adaptive_backtracking as adaptive_backtracking,
)
from optaxls.parts.searches.backtracking import backtracking as backtracking
from optaxls.parts.searches.bracketing import bracketing as bracketing
from optaxls.parts.searches.interpolating import interpolating as interpolating
from optaxls.parts.searches.parallel import parallel_candidates as parallel_candidates

# Paths: how a step size becomes a displacement.
from optaxls.parts.paths.line import along_direction as along_direction
from optaxls.parts.paths.orthant import along_orthant as along_orthant
from optaxls.parts.paths.proximal import along_projection as along_projection
from optaxls.parts.paths.proximal import along_prox as along_prox
from optaxls.parts.paths.line import along_segment as along_segment
from optaxls.parts.paths.sphere import along_sphere as along_sphere
from optaxls import prox as prox

# Parts: gates, and the types that a part of one's own is made of.
from optaxls.parts.gates import always as always
from optaxls.parts.gates import every as every
from optaxls.parts.gates import first as first
from optaxls.parts.gates import when_unsteady as when_unsteady
from optaxls.parts.types import Condition as Condition
from optaxls.parts.types import Displacement as Displacement
from optaxls.parts.types import Found as Found
from optaxls.parts.types import Gate as Gate
from optaxls.parts.types import InitialStep as InitialStep
from optaxls.parts.types import LineSearchState as LineSearchState
from optaxls.parts.types import Memory as Memory
from optaxls.parts.types import Metric as Metric
from optaxls.parts.types import Origin as Origin
from optaxls.parts.types import Outcome as Outcome
from optaxls.parts.types import Params as Params
from optaxls.parts.types import Path as Path
from optaxls.parts.types import Problem as Problem
from optaxls.parts.types import Proximal as Proximal
from optaxls.parts.types import Search as Search
from optaxls.parts.types import Trial as Trial
from optaxls.parts.types import ValueFn as ValueFn
from optaxls.parts.types import Verdict as Verdict
from optaxls.parts.types import keep_memory as keep_memory
from optaxls.parts.types import no_memory as no_memory

__version__ = "0.1.0"
