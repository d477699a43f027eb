"""Draws the figure of a diagnosis. No other file of the library needs matplotlib."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import LogLocator, NullFormatter

from optaxls.diagnostics.doctor._curves import Curves
from optaxls.diagnostics.doctor.records import PilotResult

# Okabe and Ito's palette: readers with colour blindness can tell its colours apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_STYLE: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(curves: Curves, pilots: Mapping[str, PilotResult]) -> Figure:
    """Draws four panels: loss, growth of gradients, the ray, the short runs."""
    with matplotlib.rc_context(_STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
        figure = Figure(figsize=(7.2, 5.2), dpi=120, layout=layout)
        axes = figure.subplots(2, 2)
        _loss(axes[0, 0], curves)
        _growth(axes[0, 1], curves)
        _ray(axes[1, 0], curves)
        _pilots(axes[1, 1], pilots)
    return figure


def _scale(series: jax.Array) -> str:
    """Chooses a logarithmic axis, unless no value is positive."""
    return "log" if (series > 0).any() else "linear"


def _loss(axes: Axes, curves: Curves) -> None:
    """Draws the loss over training, and that of groups of classes if there are any."""
    steps = [step + 1 for step in curves.steps]
    axes.plot(steps, curves.samples.values.mean(1), color="black", label="all examples")
    if curves.group_losses is not None:
        groups = curves.group_losses.shape[1]
        for index in range(groups):
            # A group without examples has no curve, and no entry in the legend.
            if not jnp.isnan(curves.group_losses[:, index]).all():
                name = {0: " (most frequent)", groups - 1: " (rarest)"}.get(index, "")
                axes.plot(
                    steps,
                    curves.group_losses[:, index],
                    color=_COLOURS[index % len(_COLOURS)],
                    linestyle="--",
                    label=f"classes, quarter {index + 1}{name}",
                )
        axes.legend(fontsize=6)
    # From 1 on, because the start of the run has no place on a logarithmic axis.
    axes.set(xscale="log", xlabel="step + 1", ylabel="loss")
    axes.set_yscale(_scale(curves.samples.values.mean(1)))
    axes.set_title("Loss along the measured run")


def _growth(axes: Axes, curves: Curves) -> None:
    """Draws E |grad f_i|^2 over |grad f|^2, with the fit."""
    gradient = curves.samples.squared_mean_norm
    squared = curves.samples.mean_squared_norm
    axes.plot(gradient, squared, "o", color=_COLOURS[0], label="measured")
    positive = gradient[gradient > 0]
    if len(positive):
        line = jnp.geomspace(positive.min(), positive.max(), 100)
        fit = curves.growth.rho.value * line + curves.growth.noise_floor.value
        axes.plot(line, fit, color=_COLOURS[1], label=r"$\rho|\nabla f|^2+\sigma^2$")
    axes.set(xscale=_scale(gradient), yscale=_scale(squared))
    axes.set(xlabel=r"$|\nabla f|^2$", ylabel=r"$E|\nabla f_i|^2$")
    axes.set_title("Gradients: examples against loss")
    axes.legend()


def _ray(axes: Axes, curves: Curves) -> None:
    """Draws the loss along the ray, and where each method would stop."""
    for ray, name, colour in zip(
        curves.ray, ("last batch", "all measured"), _COLOURS, strict=False
    ):
        axes.plot(ray.step_sizes, ray.values, color=colour, label=name)
        axes.axhline(float(ray.value), color=colour, linewidth=0.6, linestyle=":")
    batch = curves.ray[0]
    stops = {"Armijo": batch.armijo, "Goldstein": batch.goldstein}
    stops["Polyak"] = batch.polyak
    low, high = float(batch.step_sizes.min()), float(batch.step_sizes.max())
    # A step outside the ray, or 0 after a failed search, would stretch the axis.
    for (name, step_size), colour in zip(stops.items(), _COLOURS[2:], strict=False):
        if low <= float(step_size) <= high:
            style = {"Armijo": "-", "Goldstein": "--", "Polyak": ":"}[name]
            axes.axvline(float(step_size), color=colour, linestyle=style, label=name)
    axes.set(xscale="log", xlabel="step size along $-\\nabla f_i$", ylabel="loss")
    # Far steps may have losses that would flatten all else.
    bottom = min(0.0, *(float(jnp.nanmin(ray.values)) for ray in curves.ray))
    height = 4 * (max(float(ray.value) for ray in curves.ray) - bottom)
    if 0 < height < math.inf and math.isfinite(bottom):
        axes.set_ylim(bottom, bottom + height)
    axes.set_title("Along the ray, at the end of the run")
    axes.legend(fontsize=6)


def _pilots(axes: Axes, pilots: Mapping[str, PilotResult]) -> None:
    """Draws the loss at the end of each short run, the best on top."""
    # Categories are drawn from the bottom up.
    names = list(pilots)[::-1]
    losses = [pilots[name].loss for name in names]
    # Losses below 0 have no place on a logarithmic axis; a loss of 0 gets its left end.
    negative = any(loss < 0 for loss in losses)
    shown = [1e-30 if loss == 0 and not negative else loss for loss in losses]
    axes.plot(shown, names, "o", color=_COLOURS[0])
    axes.set(xscale="linear" if negative else "log", xlabel="loss at the end")
    if not negative:
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
    # Room for the numbers, which an axis of less than a decade needs: it has one label.
    axes.margins(x=0.15)
    for name, loss, at in zip(names, losses, shown, strict=True):
        finite = math.isfinite(loss)
        axes.annotate(
            f"{loss:.2g}", (at if finite else 0, name), (5, 0),
            xycoords="data" if finite else axes.get_yaxis_transform(),
            textcoords="offset points", fontsize=6, va="center",
        )  # fmt: skip
    axes.tick_params(axis="y", labelsize=6)
    axes.set_title("Short runs on the same batches")
