"""optaxls: step sizes that are found, not tuned, for optax."""

from optaxls._metrics import metrics as metrics

# The shapes that a rule of one's own is made of.
from optaxls._types import Condition as Condition
from optaxls._types import Displacement as Displacement
from optaxls._types import Gate as Gate
from optaxls._types import InitialStep as InitialStep
from optaxls._types import Origin as Origin
from optaxls._types import Outcome as Outcome
from optaxls._types import Problem as Problem
from optaxls._types import Trial as Trial
from optaxls._types import Verdict as Verdict
from optaxls._types import keep_memory as keep_memory
from optaxls._types import no_memory as no_memory

# Directions before a search.
from optaxls.directions import cautious as cautious
from optaxls.directions import guarded as guarded

# Searches.
from optaxls.line_search._engine import adaptive_backtracking as adaptive_backtracking
from optaxls.line_search._engine import backtracking as backtracking
from optaxls.line_search._engine import bracketing as bracketing
from optaxls.line_search._engine import parallel_candidates as parallel_candidates
from optaxls.line_search._paths import along_direction as along_direction

# Under Adam's preconditioner.
from optaxls.line_search.adam import as_searched as as_searched
from optaxls.line_search.adam import (
    scale_by_preconditioned_search as scale_by_preconditioned_search,
)
from optaxls.line_search.adam import with_momentum as with_momentum
from optaxls.line_search.adam_aliases import adam_ponos as adam_ponos
from optaxls.line_search.adam_aliases import adam_sls as adam_sls
from optaxls.line_search.adam_aliases import adam_sps as adam_sps
from optaxls.line_search.adam_aliases import salsa as salsa

# No step size to choose.
from optaxls.line_search.auto_alias import auto as auto

# Conditions.
from optaxls.line_search.conditions import always_accept as always_accept
from optaxls.line_search.conditions import armijo as armijo
from optaxls.line_search.conditions import goldstein as goldstein
from optaxls.line_search.conditions import smoothed_armijo as smoothed_armijo
from optaxls.line_search.conditions import stateless_condition as stateless_condition
from optaxls.line_search.conditions import window_armijo as window_armijo
from optaxls.line_search.conditions import zhang_hager as zhang_hager
from optaxls.line_search.extragradient import (
    scale_by_extragradient as scale_by_extragradient,
)
from optaxls.line_search.extrapolation import extrapolated as extrapolated

# Gates.
from optaxls.line_search.gates import always as always
from optaxls.line_search.gates import every as every
from optaxls.line_search.gates import first as first
from optaxls.line_search.gates import when_unsteady as when_unsteady

# Initial steps.
from optaxls.line_search.hindsight import hindsight as hindsight
from optaxls.line_search.initial_steps import barzilai_borwein as barzilai_borwein
from optaxls.line_search.initial_steps import capped as capped
from optaxls.line_search.initial_steps import constant as constant
from optaxls.line_search.initial_steps import grow as grow

# Optimizers.
from optaxls.line_search.polyak_aliases import ponos as ponos
from optaxls.line_search.polyak_aliases import sps as sps
from optaxls.line_search.polyak_steps import polyak as polyak
from optaxls.line_search.polyak_steps import smoothed_polyak as smoothed_polyak
from optaxls.line_search.sls_aliases import sls as sls
from optaxls.line_search.sls_aliases import sls_extragradient as sls_extragradient
from optaxls.line_search.sls_aliases import sls_goldstein as sls_goldstein
from optaxls.line_search.sls_aliases import sls_momentum as sls_momentum

# The search as a transformation and as a function.
from optaxls.line_search.transform import LineSearchResult as LineSearchResult
from optaxls.line_search.transform import LineSearchState as LineSearchState
from optaxls.line_search.transform import line_search as line_search
from optaxls.line_search.transform import scale_by_initial_step as scale_by_initial_step
from optaxls.line_search.transform import scale_by_line_search as scale_by_line_search
from optaxls.sign.sign_descent import sign_descent as sign_descent

# For training loops.
from optaxls.training import StepResult as StepResult
from optaxls.training import accumulate as accumulate
from optaxls.training import make_step as make_step
from optaxls.training import on_subset as on_subset

__version__ = "0.1.0"
