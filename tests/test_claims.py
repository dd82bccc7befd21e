"""Every number that a text claims of a result follows from what lies under `results/`. How to write one: `claims`."""

import importlib.util
import re
import shlex

import pytest
from absl import flags as absl_flags

from tests import claims
from tests.claims import ROOT, STUDIES
from tfcount import flags

PAGES = [
    ROOT / "README.md",
    *(path for path in sorted(ROOT.glob("docs/**/*.md")) if not {"_build", "generated"} & set(path.parts)),
    *sorted(STUDIES.glob("*/README.md")),
]
FLAGFILES = sorted(ROOT.glob("configs/**/*.flags"))
RUNS = sorted(path.parent for path in STUDIES.glob("**/run.flags"))


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PAGES + FLAGFILES, ids=name)
def test_every_number_follows_from_the_results(path):
    text = path.read_text()
    found, errors = claims.read(text, path)
    assert not errors, f"{name(path)}: " + "\n".join(errors)
    # A wrong number would be seen, wherever it stands.
    for claim in found:
        planted = text[: claim.start] + wrong(claim.shown) + text[claim.end :]
        assert claims.read(planted, path)[1], f"{claim.shown} could be {wrong(claim.shown)}"


def wrong(number):
    """Returns a number that differs in the last digit, and looks alike."""
    return number[:-1] + str((int(number[-1]) + 5) % 10)


def test_texts_make_claims():
    counts = {name(path): len(claims.read(path.read_text(), path)[0]) for path in PAGES + FLAGFILES}
    assert counts["README.md"] >= 8 and counts["docs/papers.md"] >= 5
    assert all(counts[name(path)] for path in STUDIES.glob("*/README.md"))
    assert all(counts[name(flagfile(run))] >= 4 for run in RUNS)


@pytest.mark.parametrize(
    "text, errors",
    [
        ("The best is `recipe/full_sha` with MAE 73.9 in 57 minutes.", 0),
        ("The best is `recipe/full_sha` with MAE 73.8 in 57 minutes.", 1),
        ("The best is `recipe/full_sha` with MAE 73.9 in 58 minutes.", 1),
        ("MAE 78.1 has `recipe/fast_sha`, MAE 73.9 has nobody.", 1),
        ("`recipe/fast_sha` is against `recipe/full_sha` +4.2, paired interval -5.4 to +14.4.", 0),
        ("`recipe/fast_sha` is against `recipe/full_sha` +4.2, paired interval -5.4 to +15.4.", 1),
        ("`recipe/fast_sha` is against `recipe/full_sha` +4.3, paired interval -5.4 to +14.4.", 1),
        ("`recipe/full_sha` has an interval 60.5 to 88.8.", 1),
        ("Somebody reaches MAE 12.3.", 1),
        ("Somebody reaches (paper: MAE 12.3).", 0),
        ("`recipe/full_sha` is 3.5 times better.", 1),
        ("`losses/l2_sha` is the mean of 2 seeds: MAE 95.1, 88.3.", 0),
        ("`losses/l2_sha` is the mean of 2 seeds: MAE 95.1, 88.4.", 1),
        ("| who | MAE | F1 at 8 pixels |\n| --- | --- | --- |\n| `losses/l2_sha` | 91.7 | 0.368 |\n", 0),
        ("| who | MAE | F1 at 8 pixels |\n| --- | --- | --- |\n| `losses/l2_sha` | 91.6 | 0.369 |\n", 2),
        ("In `demo/demo` 362 people.\n\n<!-- claim demo/demo/predictions.csv: test_00008 / ground_truth = 362 -->", 0),
        ("In `demo/demo` 363 people.\n\n<!-- claim demo/demo/predictions.csv: test_00008 / ground_truth = 362 -->", 1),
        ("In `demo/demo` 363 people.\n\n<!-- claim demo/demo/predictions.csv: test_00008 / ground_truth = 363 -->", 1),
    ],
)
def test_wrong_numbers_are_seen(text, errors):
    assert len(claims.read(text, ROOT / "README.md")[1]) == errors


def collect():
    spec = importlib.util.spec_from_file_location("collect", ROOT / "results" / "collect.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_what_the_results_say():
    module = collect()
    for page in module.pages():
        text = page.read_text()
        assert module.with_tables(text, page) == text, f"{name(page)}: call python results/collect.py"


def test_every_result_is_in_a_table_of_its_study():
    for result in claims.RESULTS:
        text = (result.parent / "README.md").read_text()
        assert re.search(rf"<!-- results: [^>]*\b{result.name} ", text), name(result)


def flagfile(run):
    """Returns the flagfile of a run: NAME_again and NAME_to_sha are NAME, evaluated otherwise or trained again."""
    run = run.parent if run.name.startswith("seed_") else run
    folder = ROOT / "configs" / "studies" / run.parent.name
    found = [path for path in folder.glob("*.flags") if run.name == path.stem or run.name.startswith(path.stem + "_")]
    return max(found, key=lambda path: len(path.stem))


@pytest.mark.parametrize("run", RUNS, ids=name)
def test_a_flagfile_and_the_flags_of_its_run_agree(run, monkeypatch):
    monkeypatch.chdir(ROOT)
    path = flagfile(run)
    seed = run.name.removeprefix("seed_") if run.name.startswith("seed_") else "0"
    told, kept = (set(flags.to_lines(flags.from_file(name(one)))) for one in (path, run / "run.flags"))
    # Where the weights of ImageNet and the data lie is the machine's.
    machine = ("--encoder_weights=", "--data_dir=")
    differing = {line for line in told ^ kept if not line.startswith(machine)}
    assert differing == ({f"--seed={seed}"} if seed != "0" else set())


@pytest.mark.parametrize("path", [path for path in FLAGFILES if "datasets" not in path.parts], ids=name)
def test_the_command_of_a_header_is_that_of_the_file(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands = re.findall(r"^# python -m tfcount\.train (.*)$", path.read_text(), re.MULTILINE)
    if path.stem.startswith("base"):
        assert not commands
        return
    (command,) = commands
    values = absl_flags.FlagValues()
    flags.define(values)
    absl_flags.DEFINE_string("model_dir", "", "", flag_values=values)
    values(["train", *shlex.split(command)])
    assert f"--flagfile={name(path)}" in shlex.split(command)
    assert flags.read(values) == flags.from_file(name(path))
    if path.parent.parent.name == "studies":
        folder = "/".join(dict.fromkeys((path.parent.name, path.stem)))
        seeds = [run.name for run in RUNS if run.name.startswith("seed_") and flagfile(run) == path]
        assert values.model_dir == "/".join(["runs", folder, *seeds[:1]])


@pytest.mark.parametrize("page", sorted(STUDIES.glob("*/README.md")), ids=name)
def test_a_baseline_does_not_inherit_from_what_it_is_compared_with(page):
    for names in re.findall(r"<!-- differences: (.*?) -->", page.read_text()):
        baseline, *others = (flagfile(page.parent / one) for one in names.split())
        for other in set(others) - {baseline}:
            assert other not in inherited(baseline), f"{name(baseline)} inherits from {name(other)}"


def inherited(path):
    """Returns the flagfiles that a flagfile reads."""
    read = {ROOT / one for one in re.findall(r"^--flagfile=(.*)$", path.read_text(), re.MULTILINE)}
    return read.union(*map(inherited, read))


def test_every_study_has_a_readme():
    studies = {path.name for path in (ROOT / "configs" / "studies").iterdir()}
    assert studies == {path.name for path in STUDIES.iterdir() if path.is_dir()}
    for study in studies:
        text = (STUDIES / study / "README.md").read_text()
        assert "**Question.**" in text and "**Answer.**" in text and "![" in text, study
    for path in (ROOT / "configs" / "studies").glob("*/*.flags"):
        assert path.stem.startswith("base") or any(flagfile(run) == path for run in RUNS), name(path)
