"""The rays of the figure."""

import jax.numpy as jnp
import numpy as np
import pytest

from optaxls.diagnostics.doctor import _curves


@pytest.mark.slow
def test_the_rays_descend_in_complex_params():
    """|z - a|^2 / 2 of one example in the batch, and of both measured examples."""
    z, a = jnp.array(1 + 1j), jnp.array([3 - 1j, -1 + 0j])
    of_batch, of_all = _curves.rays(
        z, a[:1], a, loss_fn=lambda z, a: 0.5 * jnp.abs(z - a) ** 2,
        chunk_size=1, lower_bound=0.0,
    )  # fmt: skip
    np.testing.assert_allclose(of_batch.slope, -(abs(z - a[0]) ** 2), rtol=1e-6)
    np.testing.assert_allclose(of_batch.polyak, 0.5, rtol=1e-6)
    np.testing.assert_allclose(of_all.value, (8 + 5) / 4, rtol=1e-6)
    # Its gradient is z less the mean of the two, 1 - 1j / 2.
    slope = -np.real(np.conj(0 + 1.5j) * (z - a[0]))
    np.testing.assert_allclose(of_all.slope, slope, rtol=1e-6)
