"""The README: its code runs as pasted, its table of parts is complete, its prose short.

Pages beside what they describe are held to the same: their code runs, links lead on.
"""

import inspect
import pathlib
import re

import pytest

import optaxls

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
TEXT = README.read_text()
PAGES = [
    README,
    *sorted((ROOT / "optaxls").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
LONGEST_SENTENCE = 30


def blocks(page: pathlib.Path) -> list[str]:
    found = FENCE.findall(page.read_text())
    return [code for language, code in found if language == "python"]


CODE = [(page, block) for page in PAGES for block in blocks(page)]


def name_of(case: object) -> str:
    if isinstance(case, pathlib.Path):
        return str(case.relative_to(ROOT))
    return str(case).splitlines()[-1].strip()[:40]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), CODE, ids=name_of)
def test_pasted_code_runs_and_its_assertions_hold(page, block):
    exec(compile(block, str(page), "exec"), {"__name__": "readme"})


def test_first_block_is_ten_lines_and_learns(capsys):
    first = blocks(README)[0]
    exec(compile(first, str(README), "exec"), {"__name__": "readme"})
    printed = re.findall(r"loss ([\d.]+)", capsys.readouterr().out)
    assert float(printed[-1]) < 0.05
    assert len([line for line in first.splitlines() if line.strip()]) == 10


def test_the_set_up_is_two_commands():
    assert 'pip install -e ".[examples]" && python -m examples.train\n' in TEXT
    assert 'pip install -e ".[test]" && pytest -n 2\n' in TEXT


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_linked_file_exists_in_the_repository(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text()):
        file = (page.parent / target).resolve()
        assert file.is_relative_to(ROOT) and file.exists(), target
    assert "../shared" not in page.read_text()


def test_the_readme_is_short():
    assert len(TEXT.splitlines()) <= 250


def test_the_sections_stand_in_the_order_of_a_first_reading():
    assert re.findall(r"^## (.*)", TEXT, flags=re.MULTILINE) == [
        "Install",
        "Ten lines that work",
        "How well it works",
        "Which optimizer when",
        "The idea",
        "All parts",
        "In an existing loop",
        "What it promises",
        "Limits",
    ]


# The table of parts.


def exported() -> set[str]:
    """What ``optaxls`` exports, but for its sub-packages and modules."""
    return {
        name
        for name, thing in vars(optaxls).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }


def names_in_table() -> list[str]:
    """Every name in code type in the table of parts, in any of its columns."""
    page = (ROOT / "optaxls" / "PARTS.md").read_text()
    table = page.split("<!-- parts -->\n")[1].strip()
    return re.findall(r"`([A-Za-z_]+)`", table)


def test_every_exported_name_stands_once_in_the_table_of_parts():
    table, names = names_in_table(), exported()
    missing = sorted(names - set(table))
    assert not missing, f"add to the table of parts in optaxls/PARTS.md: {missing}"
    twice = sorted(name for name in names if table.count(name) > 1)
    assert not twice, f"named twice in the table of parts in optaxls/PARTS.md: {twice}"


def test_the_table_of_parts_names_nothing_else():
    arguments = {"c", "split", "weight_fn"}
    unknown = sorted(set(names_in_table()) - exported() - arguments)
    assert not unknown, (
        f"in the table of parts in optaxls/PARTS.md, not exported: {unknown}"
    )


# The prose.


def sentences(text: str) -> list[str]:
    """Sentences outside of code, tables, headings and pictures."""
    text = FENCE.sub("\n\n", text)
    text = re.sub(r"^(\||#|!\[|<!--).*$", "", text, flags=re.MULTILINE)
    paragraphs = re.split(r"\n\s*\n|\n(?=- )", text)
    flat = [" ".join(paragraph.split()) for paragraph in paragraphs]
    # A link counts as its words, a piece of code as one.
    flat = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", one) for one in flat]
    flat = [re.sub(r"`[^`]*`", "code", one) for one in flat]
    split = [re.split(r"(?<=[.?!])\**\s+(?=[A-Zc\[*\d])", one) for one in flat]
    return [sentence for one in split for sentence in one if sentence]


def test_sentences_are_found():
    text = "# A\n\nOne `x. y` two. Three:\n```\nno\n```\n- Four.\n- Five."
    assert sentences(text) == ["One code two.", "Three:", "- Four.", "- Five."]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_sentence_is_long(page):
    found = sentences(page.read_text())
    assert not [one for one in found if len(one.split()) > LONGEST_SENTENCE]


@pytest.mark.parametrize("word", ["hindsight", "brake", "usual", "tempered"])
def test_words_of_the_inside_do_not_stand_in_the_readme(word):
    prose = " ".join(sentences(TEXT))
    assert word not in prose.lower()
