"""The figure where losses are negative, zero or not finite."""

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from optaxls.diagnostics import PilotResult
from optaxls.diagnostics.doctor import _figure


@pytest.mark.parametrize(
    "losses, scale",
    [([2.0, 0.0], "log"), ([2.0, -1.0], "linear"), ([2.0, np.nan, np.inf], "log")],
)
def test_every_short_run_has_its_number(losses, scale):
    """A loss of NaN is not drawn as the least one."""
    figure = Figure()
    axes = figure.subplots()
    pilots = {f"optimizer {i}": PilotResult(x, 1.0) for i, x in enumerate(losses)}
    _figure._pilots(axes, pilots)
    figure.canvas.draw()
    assert axes.get_xscale() == scale
    assert {text.get_text() for text in axes.texts} == {f"{x:.2g}" for x in losses}
    places = [text.xy[0] for text in axes.texts if isinstance(text, Annotation)]
    assert len(places) == len(losses) and np.isfinite(places).all()
    drawn = np.asarray(axes.lines[0].get_xdata())[::-1]
    np.testing.assert_array_equal(np.isfinite(drawn), np.isfinite(losses))
