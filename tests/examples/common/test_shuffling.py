"""Every epoch shows every example once, in an order of its own."""

import numpy as np

from examples.common.shuffling import epochs_of


def test_epochs_show_every_example_once():
    rows = epochs_of(10, 3, 4, seed=0)
    assert rows.shape == (12, 3)
    for epoch in range(4):
        assert len(set(rows[3 * epoch : 3 * epoch + 3].ravel())) == 9
    assert rows.dtype == np.int32
    assert (rows[:3] != rows[3:6]).any()
