"""The doctor on a tiny problem; problems with known answers are in examples/doctor."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from optaxls.diagnostics import diagnose


def squared_error(w, example):
    x, y = example[0], example[1]
    return 0.5 * (x @ w - y) ** 2


def data(noise):
    keys = jax.random.split(jax.random.key(0))
    x = jax.random.normal(keys[0], (200, 4))
    y = x @ jnp.ones(4) + noise * jax.random.normal(keys[1], (200,))
    return x, y


@pytest.fixture(scope="module")
def noisy():
    x, y = data(1.0)
    labels = (jnp.arange(200) > 150).astype(int)
    return diagnose(
        squared_error, jnp.zeros(4), (x, y, labels), labels=labels, batch_size=20,
        num_steps=64, num_measured=200,
        candidates={"auto(optax.identity())": optaxls.auto(optax.identity())},
    )  # fmt: skip


@pytest.mark.slow
def test_noise_is_found_where_there_is_some(noisy):
    x, y = map(np.asarray, data(1.0))
    best = np.linalg.lstsq(x, y, rcond=None)[0]
    floor = np.mean((x**2).sum(1) * (x @ best - y) ** 2)
    found = noisy.findings["noise floor"]
    assert found.low <= floor <= found.high
    np.testing.assert_allclose(found.value, floor, rtol=0.2)
    assert noisy.recommendation.regime == "noise"
    assert "average the params" in noisy.recommendation.batch


@pytest.mark.long
def test_the_recommendation_can_be_pasted_and_ranks_with_the_best(noisy):
    expression = noisy.recommendation.optimizer
    known = {"optaxls": optaxls, "optax": optax}
    assert hasattr(eval(f"optaxls.{expression}", known), "update")
    losses = [result.loss for result in noisy.pilots.values()]
    assert losses == sorted(losses)
    assert noisy.pilots[expression].loss <= 1.2 * losses[0]


@pytest.mark.slow
def test_the_text_tells_numbers_units_intervals_and_meaning(noisy):
    text = str(noisy)
    for name, found in noisy.findings.items():
        assert f"{name}: {found.value:.3g}" in text
        assert f"({found.low:.3g} to {found.high:.3g}, {found.interval})" in text
        assert len([s for s in found.meaning.split(". ") if s]) >= 2, name
    assert f"take: optaxls.{noisy.recommendation.optimizer}" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.slow
def test_the_figure_has_a_panel_for_each_question(noisy):
    figure = noisy.plot()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert [title.split()[0] for title in titles] == [
        "Loss", "Gradients:", "Along", "Short",
    ]  # fmt: skip
    points = figure.axes[1].lines[0].get_xdata()
    assert len(points) == len(noisy.curves.steps)


@pytest.mark.slow
def test_the_tail_of_the_labels_is_reported(noisy):
    assert noisy.findings["mass of rare classes"].value == 0
    assert noisy.curves.group_losses.shape == (len(noisy.curves.steps), 4)
    assert "rarer half" in noisy.recommendation.direction or (
        "is not needed here" in noisy.recommendation.direction
    )


@pytest.mark.slow
def test_interpolation_is_found_below_a_bound_that_is_not_zero():
    """Losses from -3 on, words as labels, a batch as large as the data."""
    told = []
    report = diagnose(
        lambda w, example: squared_error(w, example) - 3.0,
        jnp.zeros(4),
        data(0.0),
        labels=jnp.zeros((200, 2), int).at[:20].set(1),
        batch_size=200,
        num_steps=64,
        lower_bound=-3.0,
        candidates={"Adam": optax.adam(0.1), "too long": optax.sgd(100.0)},
        progress=told.append,
    )
    # The run measured was made longer as long as nothing could be said.
    assert told[-2:] == ["Adam", "too long"]
    assert set(told[:-2]) == {"auto(), measured during the run"} and len(told) <= 5
    assert list(report.pilots)[-1] == "too long"
    assert report.recommendation.optimizer == "auto()"
    assert report.pilots["Adam"].num_trials == 0
    assert "nothing is known" in report.recommendation.direction
    assert report.recommendation.regime == "interpolation"
    assert report.findings["noise floor"].low < 1e-6
    assert report.curves.group_losses is None
    assert "Zipf exponent" in report.findings


@pytest.mark.parametrize(
    "argument, complaint",
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 2.5}, "batch_size must be an integer >= 1, got 2.5"),
        ({"batch_size": 201}, r"batch_size must lie in \[1, 200\], got 201"),
        ({"num_steps": 7}, "num_steps must be an integer >= 8, got 7"),
        ({"num_measured": 19}, "num_measured must be an integer >= 20, got 19"),
        ({"chunk_size": 0}, "chunk_size must be an integer >= 1, got 0"),
        ({"seed": 0.5}, "seed must be an integer >= 0, got 0.5"),
        ({"lower_bound": jnp.nan}, "lower_bound must lie in"),
        ({"labels": jnp.zeros(199, int)}, r"leading axis of 200 .* shape \(199,\)"),
        ({"labels": 3}, r"labels must have a leading axis of 200 like data, got shape"),
        ({"labels": jnp.arange(200) - 1}, r"labels must lie in \[0, 199\)"),
        ({"labels": jnp.ones(200)}, "labels must be integers, got float32"),
        # Excess over it would be negative, and every optimizer as good as the best.
        pytest.param(
            {"num_steps": 8, "lower_bound": 9.0},
            "at most the least loss .* got 9.0",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_refusals(argument, complaint):
    with pytest.raises(ValueError, match=complaint):
        diagnose(squared_error, jnp.zeros(4), data(0.0), **argument)


@pytest.mark.parametrize(
    "data, complaint",
    [
        ((jnp.ones((5, 4)), jnp.ones(5)), "data must have >= 20 examples, got 5"),
        (
            (jnp.ones((200, 4)), jnp.ones(150)),
            r"as many examples each, got 200 \(data\[0\]\), 150 \(data\[1\]\)",
        ),
        ((), "data must hold arrays of examples, got none"),
        (None, "data must hold arrays of examples, got none"),
        ((jnp.ones((200, 4)), 1.0), r"data\[1\] must have a leading axis .* a scalar"),
    ],
    ids=["few", "unequal", "empty", "None", "scalar"],
)
def test_data_that_is_no_array_of_examples(data, complaint):
    with pytest.raises(ValueError, match=complaint):
        diagnose(squared_error, jnp.zeros(4), data)


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, jnp.nan], ids=["fitted", "NaN"])
def test_a_loss_that_says_nothing_is_no_crash(value):
    """Fitted from the start, or never a number: told, with no more than a guess."""
    told = []
    report = diagnose(
        lambda w, x: value * jnp.sum(w * x), jnp.ones(3), jnp.ones((40, 3)),
        batch_size=20, num_steps=8, candidates={}, progress=told.append,
    )  # fmt: skip
    # Nothing can be decided: the run is made twice and four times as long, no more.
    assert report.recommendation.regime == "undecided"
    assert len(told) == 3 and report.curves.steps[-1] == 32
    assert report.recommendation.optimizer in report.pilots
    if value:
        assert report.recommendation.confidence == "a guess"
    assert "take: optaxls." in str(report)
    report.plot()


@pytest.mark.long
def test_integer_leaves_of_the_params_stay_fixed():
    params = {"w": jnp.ones(4), "columns": jnp.arange(4)[::-1]}
    report = diagnose(
        lambda p, example: squared_error(p["w"][p["columns"]], example),
        params, data(1.0), batch_size=50, num_steps=8, num_measured=20, candidates={},
    )  # fmt: skip
    assert np.isfinite([finding.value for finding in report.findings.values()]).all()
