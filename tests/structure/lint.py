"""Words and sentences of docstrings and comments: ``python -m tests.structure.lint``.

Without arguments every file of the package is read, else the files named. Printed is
one line for each finding: the file, the line where its text begins, what is wrong. With
``--files`` only the names of the files that have findings. It ends with 1 if any has.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MOST_WORDS = 30

# Words that meant several things, or nothing to someone from outside, and what to say.
_INSTEAD = {
    r"(?<!step-size )\brules?\b": "'step-size rule' for a transformation, else the "
    "part's name, 'parts' or 'optimizer'",
    r"\busual(ly)?\b": "typical, or the average that is meant",
    r"\bthe way\b(?! (to|in|that))|\bways\b": "offset, or path",
    r"\blevels?\b": "step_size_memory, or backtracks",
    r"\b(tempered|tempering|tempers)\b": "bounded to ten times the typical one",
    r"\b(brakes?|braked|braking)\b": "what shortens the step, and when",
    r"\bretreats?\b": "fallback step",
    r"\bcredits?\b": "what is counted",
    r"\bstands\b": "is",
    r"\bthe house\b|\bpeers?\b": "nothing, or the library by name",
    r"\b(fstar|f_cur|maxls|aggressiveness|slope_rtol)\b": "see the glossary",
    r"^\s*Ours\.?$|\bReference: Ours\b": "the paper, or 'none: new here'",
    r"\bas in ``": "the meaning itself",
}
# Identifiers of documents that are not in the repository.
_OUTSIDE = re.compile(
    r"\b(trap|traps|claims?) [A-Z]?\d+|\bT\d{1,2}\b(?!`)|"
    r"\b(claims|house|api|auto_notes|field_notes|families|examples_to_follow)\.md\b|"
    r"\bissue #?\d{1,2}\b|\.\./shared"
)
FORBIDDEN = {re.compile(p, re.IGNORECASE): said for p, said in _INSTEAD.items()}


class Text(NamedTuple):
    """A docstring or a block of comments, and the line that it begins at."""

    line: int
    text: str


class Finding(NamedTuple):
    line: int
    problem: str


def _docstrings(tree: ast.Module) -> Iterator[Text]:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield Text(node.body[0].lineno, text)


def _comments(source: str) -> Iterator[Text]:
    """Comment lines that follow one another are one text."""
    block: list[str] = []
    first = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        said = re.sub(r"^#+:?\s*|\b(pyright|ruff|type|fmt|noqa)\b:.*", "", token.string)
        if block and line != last + 1:
            yield Text(first, "\n".join(block))
            block = []
        if not block:
            first = line
        block.append(said)
        last = line
    if block:
        yield Text(first, "\n".join(block))


def texts(path: Path) -> list[Text]:
    source = path.read_text()
    found = [*_docstrings(ast.parse(source)), *_comments(source)]
    return sorted(found)


def _prose(text: str) -> Iterator[str]:
    """Paragraphs without examples, formulas and headings; items one by one."""
    # A doctest ends at a blank line, a formula or literal block where indentation ends.
    text = re.sub(r"^[ ]*>>>.*(\n.+)*", "", text, flags=re.MULTILINE)
    text = re.sub(r"^([ ]*)\.\. \w+::.*\n((\1[ ]+.*)?\n)*", "\n", text, flags=re.M)
    text = re.sub(r"(?<=::)\n\n(([ ]+.*)?\n)+", "\n\n", text)
    text = re.sub(r"^\s*[A-Z]\w+:[ ]*$", "", text, flags=re.MULTILINE)
    # An argument, an item or a row begins a paragraph of its own.
    begins = r"\n(?=\s*(?:[-*|] |\d+\. |``?\w+``?(?:, ``?\w+``?)*: |\w+(?:, \w+)*: ))"
    text = re.sub(begins, "\n\n", text)
    for paragraph in re.split(r"\n\s*\n", text):
        if paragraph.strip() and not paragraph.strip().startswith("|"):
            yield " ".join(paragraph.split())


def sentences(text: str) -> list[str]:
    found = []
    for paragraph in _prose(text):
        # What is set as code or as a formula is one word.
        paragraph = re.sub(r":math:`[^`]*`|``.*?``|`[^`]*`", "CODE", paragraph)
        found += re.split(r"(?<=[.!?])\s+(?=[A-Z(0-9])|(?<=:)\s+(?=[A-Z])", paragraph)
    return [sentence for sentence in found if sentence]


def findings(path: Path) -> list[Finding]:
    """All that is wrong in one file."""
    found = []
    for line, text in texts(path):
        for sentence in sentences(text):
            words = [w for w in sentence.split() if re.search(r"\w", w)]
            if len(words) > MOST_WORDS:
                problem = f"{len(words)} words in a sentence: {sentence}"
                found.append(Finding(line, problem))
        plain = " ".join(_prose(text))
        plain = re.sub(r":math:`[^`]*`|``.*?``|`[^`]*`", " CODE ", plain)
        for pattern, instead in FORBIDDEN.items():
            for match in pattern.finditer(plain):
                around = plain[max(match.start() - 25, 0) : match.end() + 25]
                problem = f"'{match[0]}' (say: {instead}) in '{around}'"
                found.append(Finding(line, problem))
    return found


def identifiers_from_outside(path: Path) -> list[str]:
    """In the whole source, code too."""
    return [match[0] for match in _OUTSIDE.finditer(path.read_text())]


def main(arguments: list[str]) -> int:
    from tests.structure.source import PACKAGE, python_files, relative

    names = [argument for argument in arguments if not argument.startswith("-")]
    paths = [Path(name).resolve() for name in names] or python_files(PACKAGE)
    total = 0
    for path in paths:
        found = findings(path)
        total += len(found)
        if "--files" in arguments:
            if found:
                print(f'"{relative(path)}",')
            continue
        for line, problem in found:
            print(f"{relative(path)}:{line}: {problem}")
        for name in identifiers_from_outside(path):
            print(f"{relative(path)}: {name!r} is of a document outside the repository")
            total += 1
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
