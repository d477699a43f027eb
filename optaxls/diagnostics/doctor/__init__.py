"""The doctor: measures a training problem, tries optimizers, recommends one.

- ``diagnose``: the entry. It checks the arguments and calls the files below in order.
- ``_trajectory``: trains, and measures during the run.
- ``_findings``: the only file that makes a ``Finding``, a number with its meaning.
- ``_advice``: names the optimizers that are tried, and makes the ``Recommendation``.
- ``_curves``, ``_figure``: what the figure shows, and the drawing of it.
- ``records``, ``report``: the types that a user gets, without any judgement in them.
"""
