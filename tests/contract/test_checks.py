"""Parts in the wrong place are refused at construction, by the argument's name."""

import functools

import jax.numpy as jnp
import pytest

import optaxls

GOOD = {
    "condition": optaxls.armijo(),
    "initial_step": optaxls.constant(1.0),
    "search": optaxls.backtracking(),
    "path": optaxls.along_direction,
    "gate": optaxls.always(),
}
W = jnp.ones(2)
PLAIN = functools.partial(
    optaxls.line_search, jnp.sum, W, -W, value=jnp.array(2.0), grad=W
)
TAKES = {
    optaxls.scale_by_line_search: list(GOOD),
    optaxls.scale_by_initial_step: ["initial_step", "path"],
    PLAIN: list(GOOD),
}
NAMES = ["scale_by_line_search", "scale_by_initial_step", "line_search"]
CASES = [
    pytest.param(make, name, id=f"{title}-{name}")
    for title, (make, names) in zip(NAMES, TAKES.items(), strict=True)
    for name in names
]


@pytest.mark.parametrize(("make", "name"), CASES)
def test_the_error_names_the_argument_and_what_to_write(make, name):
    good = {key: GOOD[key] for key in TAKES[make]}
    wrong = [value for key, value in GOOD.items() if key != name]
    wrong += [None, 0.1, "armijo", optaxls.armijo]
    if name == "search":
        wrong.remove(optaxls.armijo)
    for part in wrong:
        with pytest.raises(TypeError, match=rf"^{name} must be a .*optaxls\.\w+"):
            make(**{**good, name: part})


def test_a_bare_function_as_a_path_is_told_what_to_write():
    def displace(origin, step_size):
        return optaxls.along_direction.displace(origin, step_size)

    with pytest.raises(TypeError, match=r"optaxls.Path\(displace, predicted_slope\)"):
        optaxls.scale_by_line_search(
            GOOD["condition"], GOOD["initial_step"], path=displace
        )


def test_parts_of_the_right_kind_are_taken():
    optaxls.scale_by_line_search(**GOOD)
    optaxls.scale_by_initial_step(GOOD["initial_step"], path=GOOD["path"])
    assert PLAIN(**GOOD).accepted
