"""How Sphinx builds the documentation: `make docs`.

Pages that follow from other files are written into `docs/generated` first: the README, the READMEs of the studies, the
reference, what each part is for, and the picture of the imports. They follow the tree, so that a module that moves
takes its page along.
"""

import ast
import os
import pathlib
import re
import sys

DOCS = pathlib.Path(__file__).resolve().parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
sys.path[:0] = [str(ROOT), str(DOCS)]

import draw_imports  # noqa: E402 (it lies beside this file)

from tfcount.banner import import_tensorflow  # noqa: E402

import_tensorflow()

project = "tfcount"
author = "the authors of tfcount"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "tfcount"
exclude_patterns = ["_build", "generated/parts.md"]
myst_heading_anchors = 3
# Flags have two dashes.
smartquotes = False
# Docstrings put code into single backticks.
default_role = "literal"
# Losses, layers and methods would come with what Keras says of its own.
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_use_ivar = True
napoleon_use_rtype = False
# -n asks for every reference. Types in docstrings are words: "`(images,)` counts".
nitpick_ignore_regex = [("py:.*", ".*")]

# Pages that lie elsewhere, and what they are called here.
MOVED = {
    ROOT / "README.md": GENERATED / "readme.md",
    **{path: GENERATED / "studies" / f"{path.parent.name}.md" for path in ROOT.glob("results/studies/*/README.md")},
}
SECTIONS = ("Args", "Attributes", "Example", "Examples", "Raises", "Returns", "Yields")
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


def modules() -> dict[str, list[pathlib.Path]]:
    """Returns the files of each part of the project, by the name of the package or module."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted([*ROOT.glob("tfcount/**/*.py"), *ROOT.glob("tfrecords_tools/**/*.py")]):
        part = draw_imports.part_of(name_of(path))
        if not any(word.startswith("_") and word != "__init__" for word in path.with_suffix("").parts):
            found.setdefault(part.removesuffix(".__init__"), []).append(path)
    return found


def name_of(path: pathlib.Path) -> str:
    """Returns what a file is imported as, a package as `package.__init__`."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def write_reference() -> None:
    """Writes a page for each part, and the table of what each is for."""
    rows = []
    for part, paths in modules().items():
        lines = [f"# {part}", ""]
        for path in paths:
            name = name_of(path).removesuffix(".__init__")
            if name != part:
                lines += [f"## {name.removeprefix(part + '.')}", ""]
            lines += ["```{eval-rst}", f".. automodule:: {name}", "   :members:", "```", ""]
        write(GENERATED / "reference" / f"{part}.md", "\n".join(lines))
        described = ast.get_docstring(ast.parse(paths[0].read_text(encoding="utf-8"))) or ""
        summary = described.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")
        if not summary:
            summary = ", ".join(f"`{path.stem}`" for path in paths if path.stem != "__init__")
        rows.append(f"| [`{part}`](generated/reference/{part}.md) | {summary} |\n")
    write(GENERATED / "parts.md", "| part | |\n| --- | --- |\n" + "".join(rows))


def write(path: pathlib.Path, text: str) -> None:
    """Writes a file if its text is not there yet: Sphinx reads again what is newer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def relocate(text: str, written: pathlib.Path, page: pathlib.Path) -> str:
    """Returns a text whose links lead to the same places from another page.

    Pages lead to pages, pictures stay pictures, and files and folders of the project are linked from where `make docs`
    puts the page.

    Args:
      text: Markdown.
      written: the file whose text it is.
      page: the file in `docs` that it becomes.
    """
    html = (DOCS / "_build" / "html" / page.relative_to(DOCS)).parent

    def rewrite(match):
        picture, words, target = match.groups()
        place, hash_, heading = target.partition("#")
        if not place or ":" in place:
            return match[0]
        path = (written.parent / place).resolve()
        if not path.exists():
            raise FileNotFoundError(f"{written.relative_to(ROOT)} links to {target}, which is not there.")
        path = MOVED.get(path, path)
        if picture or path.is_relative_to(DOCS):
            return f"{picture}[{words}]({os.path.relpath(path, page.parent)}{hash_}{heading})"
        return f'<a href="{os.path.relpath(path, html)}">{words}</a>'

    # What stands in fences is code.
    parts = re.split(r"(^```.*?^```)", text, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if index % 2 else LINK.sub(rewrite, part) for index, part in enumerate(parts))


def generate(app) -> None:
    """Writes what follows from other files."""
    write_reference()
    draw_imports.draw(draw_imports.imports()).savefig(GENERATED / "imports.svg", metadata={"Date": None})
    # They link to each other.
    for page in MOVED.values():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.touch()
    for written, page in MOVED.items():
        write(page, relocate(written.read_text(encoding="utf-8"), written, page))
    kept = {*MOVED.values(), *(GENERATED / "reference" / f"{part}.md" for part in modules()), GENERATED / "parts.md"}
    for path in GENERATED.glob("**/*.md"):
        if path not in kept:
            path.unlink()


def read(app, docname: str, source: list[str]) -> None:
    """Rewrites the links of a page that lies in `docs`."""
    page = DOCS / f"{docname}.md"
    if not page.is_relative_to(GENERATED):
        source[0] = relocate(source[0], page, page)


def plain(app, what, name, obj, options, lines: list[str]) -> None:
    """Makes reStructuredText of a docstring, which is plain text with code in backticks.

    What is indented below a line that ends in a colon, and is no section that napoleon knows, keeps its lines. Lists
    need no empty line before them.
    """
    found: list[str] = []
    verbatim = False
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        verbatim = verbatim and (not line or line.startswith(" "))
        if verbatim:
            found.append(line)
        elif re.match(r"\S.*:$", line) and following.startswith(" ") and line[:-1] not in SECTIONS:
            found += [f"{escape(line)}:", ""]
            verbatim = True
        else:
            if line.startswith("- ") and found and re.match(r"[^\s-]", found[-1]):
                found.append("")
            found.append(escape(line))
    lines[:] = found


def escape(line: str) -> str:
    """Escapes what is markup in reStructuredText, outside of backticks."""
    parts = re.split(r"(`+[^`]*`+)", line)
    return "".join(
        part if index % 2 else re.sub(r"[*|]|(?<=\w)_(?!\w)", r"\\\g<0>", part) for index, part in enumerate(parts)
    )


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", plain, priority=100)  # Before napoleon.
    app.connect("builder-inited", generate)
    app.connect("source-read", read)
