"""Keeps what stands behind a reported number, and writes the tables of results from what is kept.

python results/collect.py recipe/full_sha runs/recipe/full_sha   # after tfcount.evaluate; of several seeds NAME/seed_0
python results/collect.py                                         # the tables alone

A table stands in `README.md` or in `results/studies/STUDY/README.md` between two comments, the first of which says
what it tells:

<!-- results: full_sha fast_sha -->      <!-- end of results -->      errors
<!-- differences: full_sha fast_sha -->  <!-- end of differences -->  paired differences to the first result
<!-- table: script.py numbers.json -->   <!-- end of table -->        what `table` of a study's script makes of its file

In `README.md` a result is named with its study, `recipe/full_sha`.
"""

import argparse
import functools
import importlib.util
import json
import operator
import pathlib
import re
import shutil
import statistics

from tfcount import comparison

ROOT = pathlib.Path(__file__).resolve().parent.parent
STUDIES = ROOT / "results" / "studies"
KEPT = ("run.flags", "train.log", "labels.json", "predictions.csv", "evaluation.json")
TABLE = re.compile(r"(<!-- (results|differences|table): ([\w/. ]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)


def collect(name: str, evaluation: pathlib.Path, run: pathlib.Path) -> None:
    """Copies the files of a run, and of its evaluation, to `results/studies/NAME`."""
    folder = STUDIES / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        source = evaluation / file
        shutil.copyfile(source if source.exists() else run / file, folder / file)


def pages() -> list[pathlib.Path]:
    """Returns the texts that hold tables."""
    return [ROOT / "README.md", *sorted(STUDIES.glob("*/README.md"))]


def with_tables(text: str, page: pathlib.Path) -> str:
    """Returns the text of a page with its tables replaced."""
    start = page.parent if page.is_relative_to(STUDIES) else STUDIES

    def write(match):
        paths = [start / name for name in match[3].split()]
        if match[2] == "table":
            return match[1] + load(paths[0]).table(json.loads(paths[1].read_text(encoding="utf-8"))) + match[4]
        lines = {"results": results, "differences": differences}[match[2]](paths, page.parent)
        return match[1] + "".join(f"{line}\n" for line in lines) + match[4]

    return TABLE.sub(write, text)


def load(script: pathlib.Path):
    """Returns the module that a study's script is."""
    spec = importlib.util.spec_from_file_location(script.stem, script)
    if spec is None or spec.loader is None:
        raise ImportError(f"{script} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def results(folders: list[pathlib.Path], base: pathlib.Path) -> list[str]:
    """Returns the lines of a table of errors; what several seeds gave is averaged."""
    evaluations = [read(folder) for folder in folders]
    located = all(one.get("localization") for found in evaluations for one in found)
    header = ["result", "counted", "MAE (95 % interval)", "RMSE", "NAE", *["F1 at 4, 8 pixels"] * located, "training"]
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    for folder, found in zip(folders, evaluations, strict=True):
        (summary,) = comparison.summarize(comparison.read_results([str(folder)]))
        low, high = summary["interval"]
        seeds = f", {len(found)} seeds" if len(found) > 1 else ""
        run, hardware = found[0]["run"], found[0]["run"]["hardware"]
        points = ", ".join(f"{mean(found, 'localization', key, 'f1'):.3f}" for key in ("sigma_4", "sigma_8") if located)
        lines.append(
            f"| {link(folder, base)} | {found[0]['dataset']} {found[0]['split']}, {found[0]['images']} images{seeds} | "
            f"{mean(found, 'mae'):.1f} ({low:.1f} to {high:.1f}) | {mean(found, 'rmse'):.1f} | "
            f"{mean(found, 'nae'):.3f} | {f'{points} | ' if located else ''}{run['steps']:,} steps, "
            f"{mean(found, 'run', 'training_minutes'):.0f} min on {hardware['cores']} cores of an "
            f"{hardware['device']} |"
        )
    return lines


def differences(folders: list[pathlib.Path], base: pathlib.Path) -> list[str]:
    """Returns the lines of a table of paired differences to the first result."""
    rows = comparison.summarize(comparison.read_results([str(folder) for folder in folders]))
    lines = [
        f"| result | MAE above that of {link(folders[0], base)} | paired 95 % interval | |",
        "| --- | --- | --- | --- |",
    ]
    for folder, row in zip(folders[1:], rows[1:], strict=True):
        low, high = row["difference_interval"]
        lines.append(
            f"| {link(folder, base)} | {row['difference']:+.1f} | {low:+.1f} to {high:+.1f} | {row['verdict']} |"
        )
    return lines


def read(folder: pathlib.Path) -> list[dict]:
    """Returns what `tfcount.evaluate` wrote, once for each seed."""
    paths = sorted(folder.glob("seed_*/evaluation.json")) or [folder / "evaluation.json"]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def mean(found: list[dict], *keys: str) -> float:
    """Returns the mean over the seeds of what lies under nested keys."""
    return statistics.mean(functools.reduce(operator.getitem, keys, one) for one in found)


def link(folder: pathlib.Path, base: pathlib.Path) -> str:
    """Returns a link to a result from a page in the folder `base`."""
    name = folder.name if base.is_relative_to(STUDIES) else folder.relative_to(STUDIES).as_posix()
    return f"[{name}]({folder.relative_to(base).as_posix()})"


def main() -> None:
    """Collects a run if one is named, and writes the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="study/name of the flagfile")
    parser.add_argument("run", nargs="?", type=pathlib.Path, help="folder of the run")
    parser.add_argument("--evaluation", type=pathlib.Path, help="folder of the evaluation, if not that of the run")
    arguments = parser.parse_args()
    if arguments.name:
        if arguments.run is None:
            parser.error("name the folder of the run, too")
        collect(arguments.name, arguments.evaluation or arguments.run, arguments.run)
    for page in pages():
        page.write_text(with_tables(page.read_text(encoding="utf-8"), page), encoding="utf-8")


if __name__ == "__main__":
    main()
