"""Measures why one optimizer beats another, on a loss and its data.

Use it as ``from optaxls import diagnostics``. Most names are pure functions of losses,
gradients and labels. ``diagnose`` trains for a while, applies them all, and recommends
an optimizer.
"""

from optaxls.diagnostics.doctor.diagnose import diagnose as diagnose
from optaxls.diagnostics.doctor.records import Finding as Finding
from optaxls.diagnostics.doctor.records import PilotResult as PilotResult
from optaxls.diagnostics.doctor.records import Recommendation as Recommendation
from optaxls.diagnostics.doctor.report import Report as Report
from optaxls.diagnostics.estimate import Estimate as Estimate
from optaxls.diagnostics.gradients import GradientSample as GradientSample
from optaxls.diagnostics.gradients import gradient_sample as gradient_sample
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
from optaxls.diagnostics.latent.information import (
    MissingInformation as MissingInformation,
)
from optaxls.diagnostics.latent.information import (
    missing_information as missing_information,
)
from optaxls.diagnostics.noise import tail_index as tail_index
from optaxls.diagnostics.ray import Ray as Ray
from optaxls.diagnostics.ray import loss_along_ray as loss_along_ray
from optaxls.diagnostics.signs import sign_likeness as sign_likeness
