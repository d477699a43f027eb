"""``observe`` runs once a step, and what it returns reaches both ends of the step."""

import jax
import jax.numpy as jnp
import pytest

import optaxls

W = jnp.array([1.0, -2.0])


def loss(w):
    return 0.5 * jnp.sum(w**2)


def counted(part, counts, title):
    """``part`` with a counter; what ``observe`` adds, the others must be given."""

    def init(params):
        return {"own": part.init(params), "observed": jnp.zeros((), jnp.int32)}

    def observe(memory, origin):
        counts[title] = counts.get(title, 0) + 1
        own = part.observe(memory["own"], origin)
        return {"own": own, "observed": memory["observed"] + 1}

    def commit(memory, origin, outcome):
        own = part.commit(memory["own"], origin, outcome)
        return {"own": own, "observed": memory["observed"]}

    def asked(memory, origin, *trial):
        # As it comes from observe: one more than what commit left behind.
        seen[title].append(memory["observed"])
        return question(memory["own"], origin, *trial)

    seen = counts.setdefault("seen", {})
    seen[title] = []
    field = {"condition": "judge", "initial_step": "propose", "gate": "should_search"}
    question = getattr(part, field[title])
    return part._replace(
        init=init, observe=observe, commit=commit, **{field[title]: asked}
    )


def parts(counts):
    return (
        counted(optaxls.zhang_hager(0.1), counts, "condition"),
        counted(optaxls.hindsight(), counts, "initial_step"),
        counted(optaxls.first(2), counts, "gate"),
    )


@pytest.mark.parametrize("traced", [True, False])
def test_every_part_observes_once_a_step(traced):
    counts = {}
    condition, initial_step, gate = parts(counts)
    tx = optaxls.scale_by_line_search(condition, initial_step, gate=gate)

    def step(w, state):
        return tx.update(-w, state, w, value=loss(w), grad=w, value_fn=loss)

    state = tx.init(W)
    if traced:
        jax.make_jaxpr(step)(W, state)
    else:
        _, state = step(W, state)
        for title in ("condition", "initial_step", "gate"):
            assert getattr(state, title)["observed"] == 1
            assert set(map(int, counts["seen"][title])) == {1}
    assert {k: v for k, v in counts.items() if k != "seen"} == {
        "condition": 1,
        "initial_step": 1,
        "gate": 1,
    }


def test_an_untested_step_observes_once():
    counts = {}
    tx = optaxls.scale_by_initial_step(parts(counts)[1])
    _, state = tx.update(-W, tx.init(W), W, value=loss(W), grad=W)
    assert counts["initial_step"] == 1 == state.initial_step["observed"]


def test_a_bad_batch_forgets_what_was_observed():
    tx = optaxls.scale_by_initial_step(parts({})[1])
    _, state = tx.update(-W, tx.init(W), W, value=jnp.array(jnp.nan), grad=W)
    assert state.initial_step["observed"] == 0


def test_the_look_back_of_hindsight_is_in_the_program_once(monkeypatch):
    """Its inner products with the offset are not made again by propose and commit."""
    from optaxls._core import trees

    calls = []
    product = trees.inner_and_abs
    monkeypatch.setattr(
        trees, "inner_and_abs", lambda *given: calls.append(given) or product(*given)
    )
    part = optaxls.hindsight()
    origin = optaxls.Origin(
        params=W,
        grad=W,
        direction=-W,
        value=loss(W),
        slope=-jnp.vdot(W, W),
        grad_sqnorm=jnp.vdot(W, W),
        direction_sqnorm=jnp.vdot(W, W),
    )
    observed = part.observe(part.init(W), origin)
    assert calls
    calls.clear()
    part.propose(observed, origin)
    assert not calls
