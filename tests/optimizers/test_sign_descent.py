"""Sign descent against its formula."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optaxls


def displacements(optimizer, grads, **given):
    w = jnp.zeros(len(grads[0]))
    state, history = optimizer.init(w), []
    for grad in grads:
        g = jnp.array(grad)
        updates, state = optimizer.update(g, state, w, **given)
        w = optax.apply_updates(w, updates)
        history.append(updates.tolist())
    return history, state


def test_it_is_the_papers_recursion():
    """w+ = w - a sign(g) + b (w - w_): the sign first, the momentum after."""
    grads = [[3.0, -0.1], [-2.0, -5.0], [0.0, 1e-20], [4.0, 0.5]]
    expected, last = [], [0.0, 0.0]
    for grad in grads:
        signs = [(g > 0) - (g < 0) for g in grad]
        last = [-0.25 * s + 0.5 * d for s, d in zip(signs, last, strict=True)]
        expected.append(last)
    ours, _ = displacements(optaxls.sign_descent(0.25, momentum=0.5), grads)
    assert ours == expected


def test_the_size_of_the_gradient_does_not_matter():
    grads = [[1.0, -2.0], [3.0, 4.0]]
    one, _ = displacements(optaxls.sign_descent(0.1), grads)
    other, _ = displacements(
        optaxls.sign_descent(0.1), [[1e6 * g for g in grad] for grad in grads]
    )
    assert one == other


def test_a_schedule_is_followed_and_reported():
    optimizer = optaxls.sign_descent(lambda count: 1.0 / (count + 1), momentum=0.0)
    ours, state = displacements(optimizer, [[1.0], [1.0], [1.0]])
    assert [d[0] for d in ours] == pytest.approx([-1.0, -1 / 2, -1 / 3])
    assert optaxls.metrics(state)["step_size"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("pass_grad", [True, False])
def test_only_momentum_goes_on_over_a_gradient_that_is_not_finite(bad, pass_grad):
    optimizer = optaxls.sign_descent(1.0, momentum=0.5)
    w = jnp.zeros(2)
    state = optimizer.init(w)
    moves = []
    for grad in ([1.0, 1.0], [bad, 1.0], [1.0, 1.0]):
        g = jnp.array(grad)
        given = {"grad": g} if pass_grad else {}
        updates, state = optimizer.update(g, state, w, **given)
        moves.append(updates.tolist())
    assert moves == [[-1.0, -1.0], [-0.5, -0.5], [-1.25, -1.25]]


@pytest.mark.slow
def test_class_losses_fall_alike_whatever_their_frequency():
    """Claims 10a: W = 0, softmax over Zipf classes, one input each: sign descent
    treats all classes alike, gradient descent serves the frequent ones first."""
    frequencies = 1 / jnp.arange(1, 11)
    frequencies = frequencies / frequencies.sum()

    def losses(logits):
        return -jnp.diag(jax.nn.log_softmax(logits))

    def end(optimizer):
        step = jax.jit(
            optaxls.make_step(lambda w: jnp.sum(frequencies * losses(w)), optimizer)
        )
        w = jnp.zeros((10, 10))
        state = optimizer.init(w)
        for _ in range(20):
            w, state, *_ = step(w, state)
        return losses(w)

    by_sign = end(optaxls.sign_descent(0.1, momentum=0.0))
    assert float(by_sign.max() / by_sign.min()) == pytest.approx(1, rel=1e-4)
    by_gradient = end(optax.sgd(2.0))
    assert by_gradient[-1] > 3 * by_gradient[0]
