"""The page that holds every claim, its verdict and its figure."""

import base64
import html
import io
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from examples.talk.claim import Claim, verdict

_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The talk, reproduced</title><style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto;
       padding: 0 1rem; color: #222; }
img { max-width: 100%; }
table { border-collapse: collapse; margin: .8rem 0; font-size: .9rem; width: 100%; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top;
         border-bottom: 1px solid #e4e4e4; }
.held { color: #00704f; } .not { color: #b34700; font-weight: 600; }
section { border-top: 2px solid #e4e4e4; margin-top: 2rem; }
.source, .command { color: #666; font-size: .85rem; }
</style></head><body>
"""
_INTRODUCTION = """<h1>The talk, reproduced</h1>
<p>Mark Schmidt's talk <i>Understanding and improving the numerical optimization
underlying modern machine learning</i> (2024), claim by claim, each measured on this
machine. The argument in four sentences: models with more parameters
than they need nearly <b>interpolate</b> their data, and there plain SGD with a constant
step converges fast. Where it does, a <b>line search on the mini-batch</b> or a Polyak
step finds that step, for about one extra forward pass. Adam's lead over SGD on text is
not a matter of noise: it remains, and grows, with full batches. It comes from
<b>heavy-tailed labels</b>: gradient descent learns rare classes slowly, sign-like steps
do not. The last part measures further results that the talk lists.</p>
"""


def page(
    claims: Mapping[str, Claim], sections: Mapping[str, Sequence[str]] | None = None
) -> str:
    """The page as one HTML file without references to others.

    Args:
        claims: by the names of their scripts, in the order of the page.
        sections: headings, and the names below each; names of no claim are left out.
    """
    held = sum(claim.held for claim in claims.values())
    sections = {"Claims": list(claims)} if sections is None else sections
    rows, body = "", ""
    for heading, names in sections.items():
        if found := {name: claims[name] for name in names if name in claims}:
            rows += f'<tr><th colspan="3">{html.escape(heading)}</th></tr>'
            rows += "".join(_row(name, claim) for name, claim in found.items())
            body += f"<h1>{html.escape(heading)}</h1>\n"
            body += "".join(_section(name, claim) for name, claim in found.items())
    summary = f"<p>{held} of {len(claims)} claims held.</p><table>{rows}</table>\n"
    return _HEAD + _INTRODUCTION + summary + body + "</body></html>\n"


def _row(name: str, claim: Claim) -> str:
    return (
        f'<tr><td><a href="#{name}">{html.escape(claim.title)}</a></td>'
        f"<td>{html.escape(claim.outcome())}</td><td>{_verdict(claim.held)}</td></tr>"
    )


def _verdict(held: bool) -> str:
    return f'<span class="{"held" if held else "not"}">{verdict(held)}</span>'


def _section(name: str, claim: Claim) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(check.statement)}</td>"
        f"<td>{html.escape(check.measured)}</td><td>{_verdict(check.held)}</td></tr>"
        for check in claim.checks
    )
    findings = "".join(f"<li>{html.escape(text)}</li>" for text in claim.findings)
    title = html.escape(claim.title)
    return (
        f'<section id="{name}"><h2>{title}</h2><p>{html.escape(claim.says)}</p>'
        f'<img alt="{title}" src="data:image/png;base64,{_encoded(claim.figure)}">'
        "<table><tr><th>expected</th><th>measured</th><th></th></tr>"
        f"{rows}</table><ul>{findings}</ul>"
        f'<p class="source">{html.escape(claim.source)}</p>'
        f'<p class="command"><code>python -m examples.talk.{name}</code></p>'
        "</section>\n"
    )


def _encoded(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return base64.b64encode(buffer.getvalue()).decode()
