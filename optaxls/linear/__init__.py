"""Models that are linear in their parameters: declared once, solved to the last digits.

Use it as ``from optaxls import linear``. ``problem`` declares features, targets, loss
and penalties, and each solver takes such a problem and returns a ``Fit``.
"""

from optaxls.linear.coordinates.greedy import greedy_coordinate as greedy_coordinate
from optaxls.linear.finite_sums import sag as sag
from optaxls.linear.finite_sums import saga as saga
from optaxls.linear.fits import Fit as Fit
from optaxls.linear.full_batch import fista as fista
from optaxls.linear.full_batch import owl_qn as owl_qn
from optaxls.linear.problems import Problem as Problem
from optaxls.linear.problems import problem as problem
