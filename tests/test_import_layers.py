"""Imports point down only, and `models` and `layers` know no backend."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
ORDER = [
    {"ops", "drawing", "banner", "flagfiles"},
    {"layers", "losses", "metrics", "records"},
    {"data", "models"},
    {"methods", "labeling", "inference"},
    {"calibration", "evaluation", "comparison"},
    {"config", "flags"},
    {"assembly", "checkpoints", "distribution", "errors", "progress"},
    {"runs"},
    {"intervals", "training", "serving"},
    {"commands", "train", "evaluate", "calibrate", "export", "predict", "compare", "select_labels"},
    {"__main__"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
FILES = sorted(ROOT.glob("tfcount/**/*.py")) + sorted(ROOT.glob("tfrecords_tools/**/*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    for name in imported(path):
        target = name.split(".")
        if parts[0] == "tfrecords_tools":
            # Commands begin and end alike.
            allowed = ("tfcount.records", "tfcount.banner", *["tfcount.commands"] * (path.name == "commands.py"))
            assert target[0] != "tfcount" or name.startswith(allowed), f"{path} imports {name}"
        elif target[0] == "tfrecords_tools":
            pytest.fail(f"{path} imports {name}")
        elif target[0] == "tfcount" and len(target) > 1 and parts[1] != "__init__":
            assert LEVEL[target[1]] <= LEVEL[parts[1]], f"{path} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_counters_know_no_backend(path):
    # The one layer that no counter has: it adds up replicas.
    if path.name == "multipolar_centers.py":
        return
    if {"models", "layers"} & set(path.relative_to(ROOT).parts):
        assert not any(name.split(".")[0] in ("tensorflow", "torch", "jax") for name in imported(path))


def test_every_module_has_its_level():
    names = {path.relative_to(ROOT / "tfcount").with_suffix("").parts[0] for path in ROOT.glob("tfcount/**/*.py")}
    assert names - {"__init__"} <= LEVEL.keys()


def module_path(name):
    """Returns the file of a module of tfcount, or of what it gives, or None."""
    parts = name.split(".")
    for end in (len(parts), len(parts) - 1):
        base = ROOT.joinpath(*parts[:end])
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if parts[0] == "tfcount" and path.is_file():
                return path
    return None


@pytest.mark.parametrize(
    "start", ["serving/savedmodel.py", "evaluate.py", "calibrate.py", "predict.py", "export.py", "select_labels.py"]
)
def test_what_serves_imports_nothing_that_trains(start):
    waiting, reached = [ROOT / "tfcount" / start], set()
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += [found for name in imported(path) if (found := module_path(name))]
    assert len(reached) > 20
    names = {path.stem for path in reached}
    assert names.isdisjoint({"training", "intervals", "progress", "feature_cache"})


def test_importing_tfcount_is_quick_and_silent():
    program = "import sys, tfcount, tfcount.commands, tfcount.train; assert 'tensorflow' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")
