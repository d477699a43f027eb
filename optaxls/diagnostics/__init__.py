"""Why one optimizer beats another: measured on a loss and its data.

``from optaxls import diagnostics``. Pure functions of losses, gradients and labels, and
``diagnose``, which trains for a while, applies them and recommends.
"""

from optaxls.diagnostics._estimate import Estimate as Estimate
from optaxls.diagnostics.doctor import diagnose as diagnose
from optaxls.diagnostics.gradient_sample import GradientSample as GradientSample
from optaxls.diagnostics.gradient_sample import gradient_sample as gradient_sample
from optaxls.diagnostics.growth import StrongGrowth as StrongGrowth
from optaxls.diagnostics.growth import polyak_lojasiewicz as polyak_lojasiewicz
from optaxls.diagnostics.growth import strong_growth as strong_growth
from optaxls.diagnostics.growth import weak_growth as weak_growth
from optaxls.diagnostics.interpolation import (
    distance_from_interpolation as distance_from_interpolation,
)
from optaxls.diagnostics.interpolation import smoothness_along as smoothness_along
from optaxls.diagnostics.labels import LabelTail as LabelTail
from optaxls.diagnostics.labels import frequency_groups as frequency_groups
from optaxls.diagnostics.labels import label_tail as label_tail
from optaxls.diagnostics.labels import loss_by_frequency as loss_by_frequency
from optaxls.diagnostics.ray import Ray as Ray
from optaxls.diagnostics.ray import loss_along_ray as loss_along_ray
from optaxls.diagnostics.records import Finding as Finding
from optaxls.diagnostics.records import PilotResult as PilotResult
from optaxls.diagnostics.records import Recommendation as Recommendation
from optaxls.diagnostics.report import Report as Report
from optaxls.diagnostics.shape import sign_likeness as sign_likeness
from optaxls.diagnostics.shape import tail_index as tail_index
