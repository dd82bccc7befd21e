"""Draws which part of tfcount imports which: python docs/draw_imports.py imports.svg.

A part is a package or a module right below `tfcount`, or `tfrecords_tools` as a whole.
"""

import ast
import pathlib
import sys

import matplotlib.figure
import matplotlib.patches

ROOT = pathlib.Path(__file__).resolve().parent.parent


def imports(root: pathlib.Path = ROOT) -> dict[str, set[str]]:
    """Returns for each part those that it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted([*root.glob("tfcount/**/*.py"), *root.glob("tfrecords_tools/**/*.py")]):
        part = part_of(".".join(path.relative_to(root).with_suffix("").parts))
        names = found.setdefault(part, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(part_of(alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.update(part_of(f"{node.module}.{alias.name}") for alias in node.names)
    # What the package itself imports, when it is asked for, is no layer's.
    found.pop("tfcount.__init__", None)
    return {part: (names & found.keys()) - {part} for part, names in found.items()}


def part_of(name: str) -> str:
    """Returns the part that a module is in."""
    words = name.split(".")
    return words[0] if words[0] != "tfcount" else ".".join(words[:2])


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """Returns the level of each part: 0 where it imports no other, else one above the highest that it imports.

    Raises:
      ValueError: if parts import each other in a circle.
    """
    found: dict[str, int] = {}

    def level(part, above):
        if part in above:
            raise ValueError(f"These import each other: {' > '.join([*above, part])}.")
        if part not in found:
            found[part] = max((level(other, [*above, part]) + 1 for other in sorted(graph[part])), default=0)
        return found[part]

    for part in sorted(graph):
        level(part, [])
    return found


def draw(graph: dict[str, set[str]]) -> matplotlib.figure.Figure:
    """Draws a mark where the part of a row imports that of a column; parts stand by their levels, highest first."""
    level = levels(graph)
    parts = sorted(level, key=lambda part: (-level[part], part))
    names = [part.removeprefix("tfcount.") for part in parts]
    figure = matplotlib.figure.Figure(figsize=(0.29 * len(parts) + 2, 0.29 * len(parts) + 2), layout="constrained")
    axes = figure.subplots()
    # Parts of one level import none of each other: a square on the diagonal.
    for one in set(level.values()):
        first, count = (
            min(index for index, part in enumerate(parts) if level[part] == one),
            list(level.values()).count(one),
        )
        axes.add_patch(matplotlib.patches.Rectangle([first - 0.5] * 2, count, count, color="0.9", linewidth=0))
    marks = [(parts.index(other), row) for row, part in enumerate(parts) for other in graph[part]]
    axes.plot(*zip(*marks, strict=True), "s", color="C0", markersize=8)
    axes.set_xticks(range(len(parts)), names, rotation=90)
    axes.set_yticks(range(len(parts)), names)
    axes.xaxis.tick_top()
    axes.set(xlim=(-0.5, len(parts) - 0.5), ylim=(len(parts) - 0.5, -0.5), ylabel="this part")
    axes.set_xlabel("imports")
    axes.xaxis.set_label_position("top")
    axes.set_aspect("equal")
    axes.tick_params(length=0)
    axes.set_xticks([index + 0.5 for index in range(len(parts) - 1)], minor=True)
    axes.set_yticks([index + 0.5 for index in range(len(parts) - 1)], minor=True)
    axes.grid(which="minor", color="0.85", linewidth=0.6)
    axes.tick_params(which="minor", length=0)
    return figure


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    draw(imports()).savefig(sys.argv[1])
