"""Orbax: every state comes back as it was, and training goes on bit for bit."""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import chex
import jax
import pytest

from tests import problems
from tests.problems import GOOD, RULES, as_arrays, quadratic_params
from tests.rows import each_kind

ocp = pytest.importorskip("orbax.checkpoint")

PROGRAM = pathlib.Path(__file__).parents[1] / "programs" / "checkpoints_program.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("checkpoints")


@functools.cache
def saved(name, folder):
    """What stood in memory after three steps, saved below ``folder``."""
    record = problems.run(name, [GOOD] * 3)[-1]
    tree = {"params": record["params"], "state": record["state"]}
    # Else the tests would pass with a target that is returned as it is.
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(tree["state"], fresh(name)["state"])
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / name, tree)
    return tree


def restored(name, folder, target):
    tree = saved(name, folder)
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(folder / name, target)
    chex.assert_trees_all_equal_structs(found, tree)
    chex.assert_trees_all_equal_shapes_and_dtypes(found, tree)
    chex.assert_trees_all_equal(found, tree)
    return found


def fresh(name):
    """A run that begins: the target that a resuming script has at hand."""
    params = quadratic_params()
    return {"params": params, "state": RULES[name].make().init(params)}


@pytest.mark.slow(one_in=3)
@each_kind
def test_training_goes_on_from_a_concrete_target(name, folder):
    found = restored(name, folder, fresh(name))
    _, update = problems.compiled(name)
    params, state = found["params"], found["state"]
    for record in problems.run(name, [GOOD] * 6)[3:]:
        params, state, _ = update(params, state, as_arrays(GOOD))
        chex.assert_trees_all_equal(params, record["params"])
        chex.assert_trees_all_equal(state, record["state"])


@each_kind
def test_a_state_comes_back_into_an_abstract_target(name, folder):
    """``eval_shape`` of ``init``: nothing is computed, nothing is allocated."""
    restored(name, folder, jax.eval_shape(lambda: fresh(name)))


@functools.cache
def on_another_mesh():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(PROGRAM.parents[2]),
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(PROGRAM), folder],
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_states_of_four_devices_go_on_on_two():
    """One test for the one program: two workers would each pay for it."""
    for name, found in on_another_mesh().items():
        assert found["was_split_over"] == 4, name
        assert found["same_structure"] and found["same_state"], name
        assert found["on_two_devices"], name
        assert found["goes_on_as_if_moved"], name
        # From the start on: auto's sixth loss is above its third.
        # The constants given to accelerated_sgd are those of another loss.
        start, end = found["loss"]
        assert end < start or name == "accelerated_sgd", name
