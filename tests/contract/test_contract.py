"""The contract of every transformation: a table alias x promise."""

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls
from tests import problems
from tests.compilations import compilations
from tests.problems import GOOD, RULES, Fault, quadratic, quadratic_params
from tests.rows import KINDS, each_kind, every_row, programs


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


DTYPES = {
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


# All dtypes for a row of each kind; for the others one dtype, the rest long.
TYPED = [
    pytest.param(
        name,
        kind,
        marks=() if name in KINDS or kind == "bfloat16" else pytest.mark.long,
    )
    for name in RULES
    for kind in DTYPES
]


@pytest.mark.parametrize(("name", "kind"), TYPED)
def test_states_and_updates_never_change_their_types(name, kind):
    x64, dtype, scalar_dtype = DTYPES[kind]
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


@each_kind
def test_a_float64_loss_of_float32_params_keeps_the_types(name):
    with jax.enable_x64(True):
        optimizer, params = RULES[name].make(), quadratic_params()
        state = optimizer.init(params)
        updates, new_state = traced_step(
            optimizer, params, state, lambda at: quadratic(at).astype(jnp.float64)
        )
        assert signature(new_state) == signature(state)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


@programs("sls", "ponos", "adam_sls_momentum", "auto")
def test_an_eager_step_is_the_jitted_one_and_the_second_compiles_nothing(name):
    """And the second sees its own batch, not the first one's."""
    optimizer, params = RULES[name].make(), quadratic_params()
    state, step = optimizer.init(params), problems.faulty_update(optimizer)
    faults = [GOOD, Fault(value=1.25, trial=1.25)]
    for fault, record in zip(faults, problems.run(name, faults), strict=True):
        with compilations() as compiled:
            params, state, _ = step(params, state, problems.as_arrays(fault))
        assert optaxls.metrics(state)["num_trials"] == record["num_trials"]
        chex.assert_trees_all_close(params, record["params"], rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(state, record["state"], rtol=1e-4, atol=1e-6)
    assert compiled == []


@pytest.mark.slow
@programs("sls", "ponos", "sps", "auto")
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


@every_row
def test_a_missing_argument_is_named_with_the_rule_and_the_cure(name):
    case = RULES[name]
    optimizer, params = case.make(), quadratic_params()
    grad, every = arguments(params)
    for missing in (*case.uses, "params"):
        given = {key: every[key] for key in case.uses if key != missing}
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


@each_kind
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


@programs("sls", "ponos", "adam_sls_momentum", "auto")
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


@each_kind
def test_no_step_after_the_first_compiles_anything(name):
    problems.run(name, [GOOD])
    _, update = problems.compiled(name)
    programs = update._cache_size()
    problems.run(name, [GOOD] * 4)
    assert update._cache_size() == programs >= 1


@programs("ponos", "auto")
def test_one_program_per_training_loop(name):
    optimizer = RULES[name].make()
    step = jax.jit(optaxls.make_step(quadratic, optimizer))
    params = quadratic_params()
    state = optimizer.init(params)
    with compilations() as compiled:
        for _ in range(3):
            params, state, *_ = step(params, state)
    assert sum("jit(step)" in line for line in compiled) == 1


@every_row
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


@every_row
def test_no_callback_to_the_host(name):
    optimizer = RULES[name].make()
    params = quadratic_params()
    program = jax.make_jaxpr(problems.faulty_update(optimizer))(
        params, optimizer.init(params), problems.as_arrays(GOOD)
    )
    assert "callback" not in str(program)


@every_row
def test_the_loss_goes_down(name):
    records = problems.run(name, [GOOD] * 40)
    values = [float(quadratic(record["params"])) for record in records]
    start = float(quadratic(quadratic_params()))
    assert values[-1] < (0.1 if name != "sign_descent" else 0.75) * start


@every_row
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
