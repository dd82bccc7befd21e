"""Keeps what stands behind a reported number, and writes README's table of results from what is kept.

python results/collect.py recipe/full_sha runs/recipe/full_sha   # after tfcount.evaluate; of several seeds NAME/seed_0
python results/collect.py                                         # the table alone
"""

import argparse
import functools
import json
import operator
import pathlib
import shutil
import statistics

from tfcount import compare

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ("run.flags", "train.log", "labels.json", "predictions.csv", "evaluation.json")
START, END = "<!-- results -->\n", "<!-- end of results -->\n"


def collect(name: str, evaluation: pathlib.Path, run: pathlib.Path) -> None:
    """Copies the files of a run, and of its evaluation, to `results/studies/NAME`."""
    folder = ROOT / "results" / "studies" / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in KEPT:
        source = evaluation / file
        shutil.copyfile(source if source.exists() else run / file, folder / file)


def table() -> str:
    """Returns the table of all results, in Markdown; what several seeds gave is averaged."""
    lines = [
        "| result | counted | MAE (95 % interval) | RMSE | NAE | F1 at 4, 8 pixels | training | on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    single = {path.parent for path in ROOT.glob("results/studies/*/*/evaluation.json")}
    seeds = {path.parent.parent for path in ROOT.glob("results/studies/*/*/seed_*/evaluation.json")}
    return "".join(f"{line}\n" for line in [*lines, *map(row, sorted(single | seeds))])


def row(folder: pathlib.Path) -> str:
    """Returns the line of the table for a result."""
    paths = sorted(folder.glob("seed_*/evaluation.json")) or [folder / "evaluation.json"]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    summary, run = found[0], found[0]["run"]
    low, high = summary["interval"]["mae"]
    seeds = ""
    if len(found) > 1:
        low, high = compare.summarize(compare.read_results([str(folder)]))[0]["interval"]
        seeds = f", {len(found)} seeds"

    def mean(*keys):
        return statistics.mean(functools.reduce(operator.getitem, keys, one) for one in found)

    located = ""
    if summary.get("localization"):
        located = ", ".join(f"{mean('localization', sigma, 'f1'):.3f}" for sigma in ("sigma_4", "sigma_8"))
    name = f"{folder.parent.name}/{folder.name}"
    return (
        f"| [{name}](results/studies/{name}) | {summary['dataset']} {summary['split']}, {summary['images']} "
        f"images{seeds} | {mean('mae'):.1f} ({low:.1f} to {high:.1f}) | {mean('rmse'):.1f} | {mean('nae'):.3f} | "
        f"{located} | {run['steps']} steps, {mean('run', 'training_minutes'):.0f} min | "
        f"{run['hardware']['device']}, {run['hardware']['cores']} cores |"
    )


def with_table(readme: str) -> str:
    """Returns the text of the README with its table replaced."""
    before, _, rest = readme.partition(START)
    return before + START + table() + END + rest.partition(END)[2]


def main() -> None:
    """Collects a run if one is named, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="study/name of the flagfile")
    parser.add_argument("run", nargs="?", type=pathlib.Path, help="folder of the run")
    parser.add_argument("--evaluation", type=pathlib.Path, help="folder of the evaluation, if not that of the run")
    arguments = parser.parse_args()
    if arguments.name:
        if arguments.run is None:
            parser.error("name the folder of the run, too")
        collect(arguments.name, arguments.evaluation or arguments.run, arguments.run)
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
