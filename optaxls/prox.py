"""Penalties and sets for params, by their proximal operators and projections."""

from optaxls.parts.proximal.jaxopt import from_jaxopt as from_jaxopt
from optaxls.parts.proximal.penalties import by_part as by_part
from optaxls.parts.proximal.penalties import group_l2 as group_l2
from optaxls.parts.proximal.penalties import l1 as l1
from optaxls.parts.proximal.penalties import l2 as l2
from optaxls.parts.proximal.penalties import nuclear as nuclear
from optaxls.parts.proximal.sets import box as box
from optaxls.parts.proximal.sets import l1_ball as l1_ball
from optaxls.parts.proximal.sets import nonnegative as nonnegative
from optaxls.parts.proximal.sets import row_normalised as row_normalised
from optaxls.parts.proximal.sets import simplex as simplex
from optaxls.parts.types import Proximal as Proximal
