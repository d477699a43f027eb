"""Slow tests here compile large programs for a few runs, and so without optimisations.

What they ask of NaN, infinity and the step after does not depend on how XLA fuses. The
quick tests ask the same of programs that are compiled as those of users are.
"""

import jax
import pytest


@pytest.fixture(autouse=True)
def compiled_quickly(request):
    is_slow = request.node.get_closest_marker("slow") is not None
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", is_slow or before)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
