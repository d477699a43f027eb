"""The page about the claims, the command that writes it, and one run in `lax.scan`."""

import importlib
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optaxls
from examples.talk import __main__ as talk
from examples.talk import claim, overview, pictures
from examples.talk.claim import Check, Claim, at_least, at_most
from examples.talk.training import train

HELD = at_most("error", 0.5, 1.0)
FAILED = at_least("ratio <of two>", 2.0, 3.0)


def made_up(*checks: Check) -> Claim:
    figure, axes = pictures.panels(["a panel"])
    axes[0].plot([1, 2])
    return Claim("A title", "It says & means.", checks, ("A finding.",), figure, "Us")


def test_a_claim_holds_if_all_its_inequalities_do():
    assert made_up(HELD).held and not made_up(HELD, FAILED).held
    assert HELD == Check("error ≤ 1", "0.5", True)
    assert FAILED == Check("ratio <of two> ≥ 3", "2", False)
    assert not at_most("error", np.nan, 1.0).held
    line = made_up(HELD, FAILED).line()
    assert "[did not hold]" in line and "error ≤ 1: 0.5;" in line
    assert "ratio <of two> ≥ 3: 2 (NOT)" in line


def test_the_page_needs_no_other_file():
    page = overview.page({"one": made_up(HELD), "two": made_up(FAILED)})
    assert "1 of 2 claims held." in page
    assert "It says &amp; means." in page and "ratio &lt;of two&gt;" in page
    assert page.index('id="one"') < page.index('id="two"')
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(s.startswith(("data:image/png;base64,", "#")) for s in sources)
    assert len([s for s in sources if s.startswith("data:")]) == 2
    assert "python -m examples.talk.two" in page


def test_the_page_has_headings_and_a_line_of_outcome():
    sections = {"First": ["two"], "None of these": ["three"], "Last": ["one"]}
    page = overview.page({"one": made_up(HELD), "two": made_up(FAILED)}, sections)
    places = [page.index(f"<h1>{name}</h1>") for name in ("First", "Last")]
    assert places[0] < page.index('id="two"') < places[1] < page.index('id="one"')
    assert "None of these" not in page
    assert "<td>ratio &lt;of two&gt; ≥ 3: 2</td>" in page


def test_the_command_writes_page_and_figures(tmp_path, monkeypatch, capsys):
    scripts = ("noise_ball", "acceleration")
    monkeypatch.setattr(talk, "SCRIPTS", scripts)
    for name, check in zip(scripts, (HELD, FAILED), strict=True):
        module = importlib.import_module(f"examples.talk.{name}")
        monkeypatch.setattr(module, "measure", lambda check=check: made_up(check))
    assert talk.main(["--out", str(tmp_path)]) == 0
    assert "1 of 2 claims held." in (tmp_path / "index.html").read_text("utf-8")
    assert {path.stem for path in tmp_path.glob("*.png")} == set(scripts)
    assert "[did not hold]" in capsys.readouterr().out
    assert talk.main(["--only", "acceleration", "--out", str(tmp_path)]) == 0
    assert "0 of 1 claims held." in (tmp_path / "index.html").read_text("utf-8")


def test_an_unknown_script_is_refused(capsys):
    assert talk.main(["--only", "nothing"]) == 2
    assert "error: --only: nothing is none of" in capsys.readouterr().err


def test_a_script_alone_fails_if_its_claim_does(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["a script", "--out", str(tmp_path)])
    assert claim.main(lambda: made_up(HELD), "fine") == 0
    assert claim.main(lambda: made_up(FAILED), "bad") == 1
    assert (tmp_path / "fine.png").stat().st_size > 1000
    assert "- A finding." in capsys.readouterr().out


def test_every_script_is_listed_and_says_how_to_run_it():
    folder = Path(talk.__file__).parent
    found = {p.stem for p in folder.glob("*.py") if "def measure(" in p.read_text()}
    assert found == set(talk.SCRIPTS) and len(talk.SCRIPTS) == len(found)
    for name in found:
        text = (folder / f"{name}.py").read_text()
        assert f"python -m examples.talk.{name}" in text
        assert f'main(measure, "{name}")' in text
        assert (Path(__file__).parent / f"test_{name}.py").exists(), name


def quadratic(w, x):
    return 0.5 * jnp.mean((w - x) ** 2)


def test_a_run_is_the_loop_written_out():
    batches = jnp.arange(6.0)[:, None]
    run = train(
        optax.sgd(0.5), quadratic, jnp.float32(4.0), batches,
        full_loss=lambda w: w, every=2,
    )  # fmt: skip
    w, values, recorded = 4.0, [], [4.0]
    for step in range(6):
        values.append(0.5 * (w - step) ** 2)
        w -= 0.5 * (w - step)
        if step % 2:
            recorded.append(w)
    np.testing.assert_allclose(run.metrics["value"], values, rtol=1e-6)
    np.testing.assert_allclose(run.loss, recorded, rtol=1e-6)
    assert run.params == run.loss[-1]


def test_a_run_has_the_metrics_of_a_search():
    run = train(
        optaxls.ponos(), quadratic, jnp.float32(4.0), jnp.zeros((3, 2)),
        full_loss=lambda w: w,
    )  # fmt: skip
    assert run.metrics["num_trials"].shape == (3,)
    with pytest.raises(ValueError, match="every must divide the 3 steps, not be 2"):
        train(
            optax.sgd(1.0), quadratic, jnp.float32(0.0), jnp.zeros((3, 2)),
            full_loss=lambda w: w, every=2,
        )  # fmt: skip
