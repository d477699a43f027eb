"""The contract of every transformation: a table alias x promise."""

# Optax types states and updates as unions of trees; their fields are known here.
# pyright: reportAttributeAccessIssue=false, reportIndexIssue=false
# pyright: reportArgumentType=false

import functools

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems
from tests.compilations import compilations
from tests.problems import GOOD, RULES, Fault, quadratic, quadratic_params

every_alias = pytest.mark.parametrize("name", RULES)


def arguments(params, loss=quadratic):
    """All that any rule may ask for."""
    value, grad = jax.value_and_grad(loss)(params)
    return grad, {
        "value": value,
        "grad": grad,
        "value_fn": loss,
        "grad_fn": jax.grad(loss),
    }


def signature(tree):
    """Structure, shapes, dtypes and weak types."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves]


def steps(optimizer, params, num_steps, loss=quadratic):
    """A plain loop around a jitted step; yields (params, state, updates)."""

    @jax.jit
    def step(params, state):
        grad, given = arguments(params, loss)
        updates, state = optimizer.update(grad, state, params, **given)
        return optax.apply_updates(params, updates), state, updates

    state = optimizer.init(params)
    yield params, state, params
    for _ in range(num_steps):
        params, state, updates = step(params, state)
        yield params, state, updates


KINDS = {
    "float32": (False, jnp.float32, jnp.float32),
    "bfloat16": (False, jnp.bfloat16, jnp.float32),
    "float16": (False, jnp.float16, jnp.float32),
    "float64": (True, jnp.float64, jnp.float64),
    "float32_in_x64": (True, jnp.float32, jnp.float32),
}


def traced_step(optimizer, params, state, loss=quadratic):
    """Shapes and dtypes of (updates, state) after a step; nothing is compiled."""

    def step(params, state):
        grad, given = arguments(params, loss)
        return optimizer.update(grad, state, params, **given)

    return jax.eval_shape(step, params, state)


@pytest.mark.parametrize("kind", KINDS)
@every_alias
def test_states_and_updates_never_change_their_types(name, kind):
    x64, dtype, scalar_dtype = KINDS[kind]
    with jax.enable_x64(x64):
        params = quadratic_params(dtype)
        optimizer = RULES[name].make()
        state = optimizer.init(params)
        updates, new_state = traced_step(optimizer, params, state)
        assert signature(new_state) == signature(state)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
        report = optaxls.metrics(state)
        assert report["step_size"].dtype == report["value"].dtype == scalar_dtype
        assert report["num_trials"].dtype == jnp.int32
        assert report["accepted"].dtype == jnp.bool_


@every_alias
def test_a_float64_loss_of_float32_params_keeps_the_types(name):
    with jax.enable_x64(True):
        optimizer, params = RULES[name].make(), quadratic_params()
        state = optimizer.init(params)
        updates, new_state = traced_step(
            optimizer, params, state, lambda at: quadratic(at).astype(jnp.float64)
        )
        assert signature(new_state) == signature(state)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


@every_alias
def test_mixed_dtypes_none_and_empty_leaves_go_through(name):
    params = quadratic_params(jnp.bfloat16) | {"b": jnp.array(2.0, jnp.float32)}
    params |= {"none": None, "empty": {}, "pair": (jnp.ones((2, 1)),)}

    def loss(params):
        return quadratic(params) + jnp.sum(params["pair"][0] ** 2)

    optimizer = RULES[name].make()
    state = optimizer.init(params)
    grad, given = arguments(params, loss)
    updates, new_state = optimizer.update(grad, state, params, **given)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    assert signature(new_state) == signature(state)
    slope = sum(
        jnp.vdot(g.astype(jnp.float32), u.astype(jnp.float32))
        for g, u in zip(jax.tree.leaves(grad), jax.tree.leaves(updates), strict=True)
    )
    assert slope < 0


@every_alias
def test_an_empty_tree_gives_no_step(name):
    optimizer = RULES[name].make()
    grad, given = {}, {"value": jnp.array(1.0), "grad": {}}
    given |= {"value_fn": lambda params: jnp.array(0.0), "grad_fn": lambda params: {}}
    updates, state = optimizer.update(grad, optimizer.init({}), {}, **given)
    assert updates == {}
    report = optaxls.metrics(state)
    assert report["step_size"] == 0 and not report["accepted"]


@every_alias
def test_jit_equals_eager(name):
    optimizer = RULES[name].make()
    params = quadratic_params()
    state = optimizer.init(params)
    compiled = problems.run(name, [GOOD] * 2)
    for record in compiled:
        grad, given = arguments(params)
        updates, state = optimizer.update(grad, state, params, **given)
        params = optax.apply_updates(params, updates)
        assert optaxls.metrics(state)["num_trials"] == record["num_trials"]
    chex.assert_trees_all_close(params, compiled[-1]["params"], rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(state, compiled[-1]["state"], rtol=1e-4, atol=1e-6)


# Variants that differ by a number only; compiling a vmapped scan takes long.
SAME_PROGRAM = {"sls_keep", "sls_restart", "ponos_forgetful", "salsa_ungated"}


@pytest.mark.parametrize("name", [n for n in RULES if n not in SAME_PROGRAM])
def test_scan_under_vmap_equals_separate_loops(name):
    optimizer = RULES[name].make()
    update = problems.faulty_update(optimizer)
    nan = Fault(value=problems.NAN, grad=problems.NAN)
    runs = {1.0: [GOOD, nan, GOOD], 0.01: [GOOD, Fault(offset=1e9), GOOD]}

    def body(carry, fault):
        params, state, _ = update(*carry, fault)
        return (params, state), optaxls.metrics(state)

    @jax.jit
    @jax.vmap
    def train(params, faults):
        return jax.lax.scan(body, (params, optimizer.init(params)), faults)

    starts = [jax.tree.map(lambda x, s=s: s * x, quadratic_params()) for s in runs]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    faults = [
        jax.tree.map(lambda *n: jnp.array(n), *sequence) for sequence in runs.values()
    ]
    faults = jax.tree.map(lambda *leaves: jnp.stack(leaves), *faults)
    (ends, states), reports = train(together, faults)
    assert optaxls.metrics(states)["step_size"].shape == (2,)
    for index, (start, sequence) in enumerate(zip(starts, runs.values(), strict=True)):
        alone = problems.run(name, sequence, start)
        end = jax.tree.map(lambda leaf, index=index: leaf[index], ends)
        chex.assert_trees_all_close(end, alone[-1]["params"], rtol=1e-4, atol=1e-6)
        for key in ("num_trials", "accepted"):
            expected = [record[key].item() for record in alone]
            assert reports[key][index].tolist() == expected


NEEDS = [(name, key) for name, case in RULES.items() for key in case.uses]
NEEDS += [(name, "params") for name in RULES]


@pytest.mark.parametrize("name,missing", NEEDS)
def test_a_missing_argument_is_named_with_the_rule_and_the_cure(name, missing):
    case = RULES[name]
    optimizer, params = case.make(), quadratic_params()
    grad, given = arguments(params)
    given = {key: given[key] for key in case.uses if key != missing}
    with pytest.raises(TypeError) as caught:
        at = None if missing == "params" else params
        optimizer.update(grad, optimizer.init(params), at, **given)
    message = str(caught.value)
    assert repr(missing) in message
    assert message.startswith(case.factory.__name__ + ":")
    assert "optimizer.update(grads, state, params" in message
    if missing != "params":
        assert f"{missing}=" in message
    assert "make_step" in message


@every_alias
def test_only_what_a_rule_uses_is_needed_and_the_rest_is_ignored(name):
    case = RULES[name]
    optimizer, params = case.make(), quadratic_params()
    grad, given = arguments(params)
    needed = {key: given[key] for key in case.uses}
    state = optimizer.init(params)
    plain = optimizer.update(grad, state, params, **needed)
    more = optimizer.update(grad, state, params, **given, epoch=3, unknown=object())
    chex.assert_trees_all_equal(plain[0], more[0])
    report, other = optaxls.metrics(plain[1]), optaxls.metrics(more[1])
    assert report["step_size"] == other["step_size"]


@every_alias
def test_inject_hyperparams_changes_nothing(name):
    case = RULES[name]
    given = getattr(case.make, "keywords", {})
    injected = optax.inject_hyperparams(case.factory)(**given)
    history = list(steps(injected, quadratic_params(), 4))
    plain = problems.run(name, [GOOD] * 4)
    for (params, state, _), record in zip(history[1:], plain, strict=True):
        # 1 - b2 is formed in float32 from an array, in float64 from a number.
        chex.assert_trees_all_close(params, record["params"], rtol=1e-3, atol=1e-4)
        assert signature(state) == signature(history[0][1])
    assert optaxls.metrics(state)["num_trials"] == plain[-1]["num_trials"]


@every_alias
def test_one_program_per_training_loop(name):
    optimizer = RULES[name].make()
    step = jax.jit(optaxls.make_step(quadratic, optimizer))
    params = quadratic_params()
    state = optimizer.init(params)
    with compilations() as compiled:
        for _ in range(3):
            params, state, *_ = step(params, state)
    assert sum("jit(step)" in line for line in compiled) == 1


@every_alias
def test_the_report_is_found_by_name(name):
    state = problems.run(name, [GOOD])[0]["state"]
    report = optaxls.metrics(state)
    for key in ("step_size", "num_trials", "accepted"):
        assert optax.tree.get(state, key) is report[key]
        assert report[key].shape == ()
    assert report["step_size"] > 0 and report["accepted"]
    if not RULES[name].searches:
        assert report["num_trials"] == 0
    else:
        assert 1 <= report["num_trials"] <= 100


@every_alias
def test_map_params_is_possible(name):
    """What sharding and masking tools call; optax's searches raise IndexError."""
    optimizer = RULES[name].make()
    state = optimizer.init(quadratic_params())
    same = optax.tree.map_params(optimizer, lambda leaf: leaf, state)
    chex.assert_trees_all_equal(same, state)
    chex.assert_trees_all_equal_structs(same, state)


@every_alias
def test_no_callback_to_the_host(name):
    optimizer = RULES[name].make()
    params = quadratic_params()
    program = jax.make_jaxpr(problems.faulty_update(optimizer))(
        params, optimizer.init(params), problems.as_arrays(GOOD)
    )
    assert "callback" not in str(program)


@every_alias
def test_the_loss_goes_down(name):
    records = problems.run(name, [GOOD] * 40)
    values = [float(quadratic(record["params"])) for record in records]
    start = float(quadratic(quadratic_params()))
    assert values[-1] < (0.1 if name != "sign_descent" else 0.75) * start


@every_alias
def test_states_hold_arrays_only_in_named_tuples(name):
    state = RULES[name].make().init(quadratic_params())
    for leaf in jax.tree.leaves(state):
        assert isinstance(leaf, jax.Array)

    def check(node):
        if isinstance(node, tuple):
            for child in node:
                check(child)
        else:
            assert isinstance(node, (jax.Array, dict))

    check(state)


def test_an_injected_hyperparameter_can_be_changed_between_steps():
    optimizer = optax.inject_hyperparams(optaxls.sls)(steps_per_epoch=10.0)
    update = jax.jit(problems.faulty_update(optimizer))
    params = quadratic_params()
    state = optimizer.init(params)
    state.hyperparams["max_step_size"] = jnp.array(0.01)
    _, state, _ = update(params, state, problems.as_arrays(GOOD))
    assert optax.tree.get(state, "step_size") == jnp.float32(0.01)


def test_chains_with_other_transformations_share_the_arguments():
    chain = optax.chain(
        optax.clip_by_global_norm(1.0),
        optaxls.ponos(),
        optax.contrib.reduce_on_plateau(patience=2, cooldown=0),
    )
    history = list(steps(chain, quadratic_params(), 10))
    assert quadratic(history[-1][0]) < 0.1 * quadratic(history[0][0])


@functools.cache
def _donating_step():
    optimizer = optaxls.ponos()
    step = optaxls.make_step(quadratic, optimizer)
    return optimizer, jax.jit(step, donate_argnums=(0, 1))


def test_params_and_state_may_be_donated():
    optimizer, step = _donating_step()
    plain = jax.jit(optaxls.make_step(quadratic, optimizer))
    params, state = quadratic_params(), optimizer.init(quadratic_params())
    kept, kept_state = quadratic_params(), optimizer.init(quadratic_params())
    for _ in range(3):
        params, state, *_ = step(params, state)
        kept, kept_state, *_ = plain(kept, kept_state)
    chex.assert_trees_all_equal(params, kept)
