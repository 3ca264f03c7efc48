"""The documentation is current: diagrams are those of the code, examples compile or run, names and links exist."""

from __future__ import annotations

import ast
import asyncio
import base64
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

import pytest

from windlass import Windlass
from windlass.core.state import State, mermaid
from windlass.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of one language."""
    return [code for found, code in BLOCK.findall(page.read_text()) if found == language]


def files(page: Path) -> dict[str, str]:
    """The blocks that say which file they are: `# tasks.py` in their first line."""
    named = (re.match(r"# (\w+\.py)\n", code) for code in blocks(page, "python"))
    return {match[1]: match.string for match in named if match}


def write(page: Path, folder: Path) -> None:
    for name, code in files(page).items():
        (folder / name).write_text(code)


# --- diagrams and tables ------------------------------------------------------------------------------------


def test_the_diagram_of_states_is_that_of_the_table() -> None:
    """Stale? Replace the block with the output of `python -c "from windlass.core.state import mermaid; print(mermaid())"`."""
    (diagram,) = blocks(ROOT / "docs/concepts/states.md", "mermaid")
    assert diagram == mermaid()


def test_every_state_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/concepts/states.md").read_text(), re.MULTILINE)
    assert rows == [state.value for state in State]


def test_every_setting_is_in_the_table() -> None:
    page = (ROOT / "docs/how-to/processes-and-limits.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == [field.name for field in fields(Settings)]


def test_the_layers_in_the_docs_are_those_of_the_linter() -> None:
    (drawn,) = blocks(ROOT / "docs/design/layers.md", "")
    held = re.findall(r'^  "(.*)",', (ROOT / "pyproject.toml").read_text().split("layers = [")[1], re.MULTILINE)
    assert drawn.splitlines() == [line.replace("(", "").replace(")", "") for line in held]


def test_what_can_go_wrong_is_what_the_chaos_suite_plays() -> None:
    """Stale? `python tests/chaos/run.py --write-docs` writes the catalogue with the figures of the last long run."""
    command = [sys.executable, "tests/chaos/run.py", "--check-docs"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def first_line(module: str, name: str) -> str:
    """What the docstring of a public name begins with; "" for an alias, which has none."""
    found = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(found) if inspect.isclass(found) or inspect.isfunction(found) else None
    return doc.splitlines()[0] if doc else ""


@pytest.mark.parametrize("module", ["windlass", "windlass.fastapi"])
def test_the_reference_has_every_public_name(module: str) -> None:
    """With the words of its docstring, where it has one of its own."""
    part = (ROOT / "docs/reference.md").read_text().split(f"## `{module}`\n")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", part, re.MULTILINE))
    assert rows.keys() == set(importlib.import_module(module).__all__)
    told = {name: first_line(module, name).replace("|", r"\|") for name in rows}
    stale = {name: line for name, line in told.items() if line and rows[name] != line}
    assert stale == {}


# --- links and names ----------------------------------------------------------------------------------------


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, target


@each_page
def test_every_page_can_be_reached(page: Path) -> None:
    others = "".join(other.read_text() for other in PAGES if other != page)
    assert page.name in {"README.md", "SECURITY.md", "CONTRIBUTING.md", "index.md"} or page.name in others


@each_page
def test_commands_exist(page: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "windlass.cli.main", "--help"], capture_output=True, text=True, check=True
    )
    known = set(re.findall(r"^  (\w+)  ", told.stdout, re.MULTILINE))
    used = set(re.findall(r"^windlass (\w+)", "\n".join(blocks(page, "sh")), re.MULTILINE))
    used |= set(re.findall(r"`windlass (\w+)", page.read_text()))
    assert used - known == set()


# --- code ---------------------------------------------------------------------------------------------------


@each_page
def test_examples_compile_and_import_what_exists(page: Path) -> None:
    for code in blocks(page, "python"):
        tree = compile(code, str(page), "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "windlass":
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/examples/*.md")), ids=lambda page: page.stem)
def test_the_code_on_the_page_of_an_example_is_that_of_the_example(page: Path) -> None:
    code = "\n".join(file.read_text() for file in ROOT.glob(f"examples/{page.stem}/*.py"))
    assert [block for block in blocks(page, "python") if block not in code] == []


def test_every_example_has_a_readme_a_page_and_a_test() -> None:
    examples = {folder.parent.name for folder in ROOT.glob("examples/*/README.md")}
    assert {page.stem for page in ROOT.glob("docs/examples/*.md")} == examples
    tests = "".join(file.stem for file in ROOT.glob("tests/examples/test_*.py"))
    assert [name for name in examples if name not in tests] == []


GUIDES = (
    "batches",
    "dashboard",
    "fastapi",
    "metrics",
    "processes-and-limits",
    "resumable-jobs",
    "schedules",
    "security",
    "streaming",
    "tracing",
)
TESTED = ("fairness", "flows", "keys", "limits", "testing", "workflows")
"""Guides with tests of their own."""


@pytest.mark.parametrize("name", [*(f"how-to/{guide}" for guide in GUIDES), "tutorial"])
def test_the_files_of_a_guide_can_be_imported(name: str, tmp_path: Path) -> None:
    page = ROOT / f"docs/{name}.md"
    write(page, tmp_path)
    program = "; ".join(f"import {file.removesuffix('.py')}" for file in files(page) if file != "tour.py")
    environment = os.environ | {"JOBS_KEY": base64.b64encode(bytes(32)).decode()}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", TESTED)
def test_the_tests_in_a_guide_pass(name: str, tmp_path: Path) -> None:
    write(page := ROOT / f"docs/how-to/{name}.md", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\nasyncio_mode = "auto"\n')
    tests = [file for file in files(page) if file.startswith("test_")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_of_every_guide_is_run() -> None:
    guides = {page.stem: page for page in ROOT.glob("docs/how-to/*.md") if blocks(page, "python")}
    assert guides.keys() == {*GUIDES, *TESTED, *RUNS}
    assert [name for name, page in guides.items() if len(files(page)) < len(blocks(page, "python"))] == []


RUNS = {
    "resumable-jobs": "import crawl, train; go(crawl.crawl.bind(), 2), go(train.train.bind(3), 0.125)",
    "batches": "import images, careful; go(images.generate.bind('a cow'), 'a picture of a cow'), go(careful.shorten.bind('x'), 'x')",
    "queues-and-resources": "import gpu; go(gpu.train.bind(3), '3 epochs on device 0')",
    "streaming": "import answers; go(answers.answer.bind('What?'), 'It is forty-two.', ['It', 'is', 'forty-two.'])",
}
"""What becomes of the jobs of a guide."""
RUN = """
import asyncio
from windlass.testing import Harness
def go(call, expected, chunks=()):
    async def run():
        async with Harness(call.app) as jobs:
            (handle,) = await call.app.enqueue_many([call])
            await jobs.drain()
            assert await handle == expected, await handle
            assert [chunk async for chunk in handle.stream()] == list(chunks)
    asyncio.run(run())
"""


@pytest.mark.parametrize("name", RUNS)
def test_the_jobs_of_a_guide_run(name: str, tmp_path: Path) -> None:
    write(ROOT / f"docs/how-to/{name}.md", tmp_path)
    command = [sys.executable, "-c", RUN + RUNS[name]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_the_scripts_of_the_tutorial_run(tmp_path: Path) -> None:
    """With a worker beside them, as the tutorial says."""
    write(ROOT / "docs/tutorial.md", tmp_path)
    (tmp_path / "pyproject.toml").write_text("")
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "windlass.cli.main", "worker", "main:app"), cwd=tmp_path
    )
    try:
        tour = await asyncio.create_subprocess_exec(
            sys.executable, "tour.py", cwd=tmp_path, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await asyncio.wait_for(tour.communicate(), 60)
        assert tour.returncode == 0
        lines = said.decode().splitlines()
        assert lines[0] == "3 sheep, good night"
        assert lines[-1].startswith("end Job(")
    finally:
        worker.terminate()
        await worker.wait()


def test_no_page_names_a_machine() -> None:
    for page in PAGES:
        text = page.read_text()
        assert not any(place in text for place in (str(ROOT), str(Path.home()), tempfile.gettempdir())), page


def test_the_default_store_is_where_the_docs_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WINDLASS_URL", raising=False)
    (tmp_path / "pyproject.toml").touch()
    assert Windlass().url.endswith("/.windlass/windlass.db")
