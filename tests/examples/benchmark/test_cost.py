"""What a search costs, as far as no clock is needed to tell."""

import jax
import jax.numpy as jnp
import optax
import pytest

from examples.benchmark import cost, cost_models, cost_programs, cost_report, cost_steps
from examples.benchmark.cost_timing import Ratio, Runner, in_turns
from tests.compilations import compilations

pytestmark = pytest.mark.long

TINY = cost_models.tiny_tasks()
MLP = TINY["MLP"]

# Wide enough that a copy of the params shows in the memory.
WIDE = cost_models.tasks()["MLP"]

SEARCHING = [cost_steps.one_trial(), *cost_steps.searches()]
every_search = pytest.mark.parametrize("contender", SEARCHING, ids=lambda c: c.name)


@pytest.mark.parametrize("model", ["MLP", "CNN", "transformer"])
@every_search
def test_only_forward_passes_are_made_in_loops(contender, model):
    task = TINY[model]
    forward = cost_programs.products_of_forward(task)
    assert forward > 0
    assert cost_programs.products_in_branches(contender, task) == forward


def test_a_gradient_in_a_loop_would_be_counted():
    def loss_of_gradient(params, batch):
        grad = jax.grad(MLP.loss)(params, batch)
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(grad))

    task = MLP._replace(loss=loss_of_gradient)
    found = cost_programs.products_in_branches(cost_steps.one_trial(), task)
    assert found > 2 * cost_programs.products_of_forward(MLP)


@pytest.mark.parametrize("reset", ["restart", "keep"])
def test_a_forced_step_makes_one_trial_and_compiles_one_program(reset):
    runner = Runner(cost_steps.one_trial(reset), MLP)
    for _ in range(3):
        with compilations() as compiled:
            runner.run(1)
        assert compiled == []
        assert optax.tree.get(runner.state(), "num_trials") == 1
    assert runner.programs() == 1


def test_auto_evaluates_nothing_besides_the_gradient_and_compiles_one_program():
    contender = cost_steps.auto()
    assert cost_programs.products_in_branches(contender, MLP) == 0
    step, carry = contender.jitted(MLP), contender.start(MLP, MLP.params())
    for _ in range(3):
        carry, _ = step(carry, MLP.batch)
        assert optax.tree.get(carry[1], "num_trials") == 0
    assert step._cache_size() == 1


def test_a_search_needs_less_than_a_copy_of_the_params():
    """A trial's params exist while it is evaluated; a second gradient never does."""
    contenders = [cost_steps.sgd(), cost_steps.one_trial()]
    programs = cost_programs.compile_in_turns(contenders, WIDE, repeats=1)
    more = programs["one trial"].temporary_bytes - programs["SGD"].temporary_bytes
    assert more <= 0.75 * cost_programs.param_bytes(WIDE)


def test_auto_carries_two_copies_of_the_params_more_than_adam():
    state = cost_programs.state_bytes
    more = state(cost_steps.auto(), WIDE) - state(cost_steps.adam(), WIDE)
    assert more <= 2 * cost_programs.param_bytes(WIDE) + 100


def test_several_seeds_train_as_each_alone():
    contender = cost_steps.one_trial()
    together = contender.over_seeds(2)
    carry, _ = together.jitted(MLP)(together.start(MLP, None), MLP.batch)
    step = contender.jitted(MLP)
    for seed, key in enumerate(jax.random.split(jax.random.key(0), 2)):
        alone, _ = step(contender.start(MLP, MLP.init(key)), MLP.batch)
        one = jax.tree.map(lambda leaf, seed=seed: leaf[seed], carry[0])
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(alone[0]), strict=True):
            assert jnp.allclose(a, b, atol=1e-6)


def test_a_ratio_is_paired_by_round():
    runners = [Runner(cost_steps.sgd(), MLP), Runner(cost_steps.floor(), MLP)]
    times = in_turns(runners, rounds=4)
    assert times.ratio("SGD", "SGD") == Ratio(1.0, 1.0, 1.0)
    paired = times.seconds["floor"] / times.seconds["SGD"]
    assert min(paired) <= times.ratio("floor", "SGD").median <= max(paired)


def test_tables_and_picture_show_what_was_measured(tmp_path):
    ratio = Ratio(1.25, 1.0, 1.5)
    steps = {"MLP": {"to floor": {"one trial": ratio}}}
    row = cost_report._table("title", cost_report._turned({"MLP": {"a": ratio}}))
    assert row.splitlines() == ["title", "   MLP", "a  1.25 (1.00-1.50)"]
    assert cost_report.plain(steps)["MLP"]["to floor"]["one trial"]["upper"] == 1.5
    cost_report.save_figure(tmp_path / "cost.png", steps)
    assert (tmp_path / "cost.png").stat().st_size > 1000


def test_rounds_that_cannot_be_are_refused(tmp_path, capsys):
    assert cost.main(["--rounds", "0", "--out", str(tmp_path / "out")]) == 2
    assert "--rounds must be at least 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", TINY)
def test_torch_times_the_same_models_and_the_same_steps(model):
    """Skipped in CI, which has no PyTorch (extra: torch)."""
    pytest.importorskip("torch")
    from examples.benchmark import cost_torch

    task = TINY[model]
    theirs, loss = cost_torch.converted(task), task.loss(task.params(), task.batch)
    sgd = cost_steps.sgd()
    (params, _), _ = sgd.step(task)(sgd.start(task, task.params()), task.batch)
    after = task.loss(params, task.batch)
    assert loss - after > 1e-4
    for contender in cost_torch.contenders():
        carry = contender.start(theirs, task.params())
        carry, _ = contender.jitted(theirs)(carry, theirs.batch)
        found = theirs.loss(carry.params, theirs.batch).item()
        assert found == pytest.approx(float(after), abs=0.01 * float(loss - after))
        assert carry.trials == (contender.name == "one trial")
