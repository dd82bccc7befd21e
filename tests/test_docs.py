"""What `make docs` makes of the source, before Sphinx reads it."""

import importlib
import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def conf():
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_links_lead_to_the_same_place_from_another_page(conf):
    study, page = conf.ROOT / "results/studies/losses/README.md", conf.GENERATED / "studies/losses.md"
    text = "![a](comparison.png) [b](../cells/README.md#x) [c](l2_sha) [d](https://e.f)\n```\n[g](h)\n```\n"
    assert conf.relocate(text, study, page) == (
        "![a](../../../results/studies/losses/comparison.png) [b](cells.md#x) "
        '<a href="../../../../../results/studies/losses/l2_sha">c</a> [d](https://e.f)\n```\n[g](h)\n```\n'
    )
    page = conf.DOCS / "tutorials" / "serving.md"
    assert conf.relocate("[a](own_pictures.md) [b](#c)", page, page) == "[a](own_pictures.md) [b](#c)"
    with pytest.raises(FileNotFoundError, match=r"README.md links to nowhere.md, which is not there"):
        conf.relocate("[a](nowhere.md)", study, page)


def test_every_module_has_a_place_in_the_reference(conf):
    parts = conf.modules()
    files = {path for paths in parts.values() for path in paths}
    # `python -m tfcount` has nothing to import.
    everything = {*ROOT.glob("tfcount/**/*.py"), *ROOT.glob("tfrecords_tools/**/*.py")}
    assert files == everything - {ROOT / "tfcount" / "__main__.py"}
    assert {"tfcount", "tfcount.ops", "tfcount.losses", "tfrecords_tools"} <= parts.keys()


def test_docstrings_are_plain_text(conf):
    lines = [
        "Means |error| of `a * b`.",
        "- a_ b_c",
        "",
        "Sets:",
        "  one   * two",
        "    three",
        "",
        "Args:",
        "  a: c*d.",
    ]
    conf.plain(None, "", "", None, None, lines)
    assert lines == [
        "Means \\|error\\| of `a * b`.",
        "",
        "- a\\_ b_c",
        "",
        "Sets::",
        "",
        "  one   * two",
        "    three",
        "",
        "Args:",
        "  a: c\\*d.",
    ]


def test_the_picture_of_imports(conf, tmp_path):
    drawing = conf.draw_imports
    graph = drawing.imports()
    assert "tfcount.ops" in graph["tfcount.models"] and not graph["tfcount.ops"]
    level = drawing.levels(graph)
    assert all(level[part] > level[other] for part, names in graph.items() for other in names)
    drawing.draw(graph).savefig(tmp_path / "imports.svg")
    assert "<svg" in (tmp_path / "imports.svg").read_text()
    with pytest.raises(ValueError, match=r"These import each other: a > b > a\."):
        drawing.levels({"a": {"b"}, "b": {"a"}})


def test_functions_that_the_papers_lead_to_are_there():
    named = re.findall(r"`([a-z_0-9]+)\.(\w+)`", (ROOT / "docs" / "papers.md").read_text())
    assert ("order", "reduction") in named
    paths = {path.stem: path.relative_to(ROOT).with_suffix("") for path in ROOT.glob("tfcount/*/*.py")}
    assert {module for module, _ in named} <= paths.keys()
    for module, function in named:
        assert hasattr(importlib.import_module(".".join(paths[module].parts)), function), function
