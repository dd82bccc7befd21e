"""Keeps what stands behind a reported number, and writes README's table of results from what is kept.

python results/collect.py resnet50_sha runs/resnet50_sha   # after tfcount.evaluate
python results/collect.py                                  # the table alone
"""

import argparse
import json
import pathlib
import shutil

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ("run.flags", "train.log", "labels.json", "predictions.csv", "evaluation.json")
START, END = "<!-- results -->\n", "<!-- end of results -->\n"


def collect(name: str, evaluation: pathlib.Path, run: pathlib.Path) -> None:
    """Copies the files of a run, and of its evaluation, to `results/NAME`."""
    folder = ROOT / "results" / name
    folder.mkdir(exist_ok=True)
    for file in KEPT:
        source = evaluation / file
        shutil.copyfile(source if source.exists() else run / file, folder / file)


def table() -> str:
    """Returns the table of all results, in Markdown."""
    lines = [
        "| result | counted | MAE (95 % interval) | RMSE | NAE | F1 at 4, 8 pixels | training | on |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for path in sorted(ROOT.glob("results/*/evaluation.json")):
        summary = json.loads(path.read_text(encoding="utf-8"))
        run, (low, high) = summary["run"], summary["interval"]["mae"]
        hardware = run["hardware"]
        points = summary.get("localization")
        located = f"{points['sigma_4']['f1']:.3f}, {points['sigma_8']['f1']:.3f}" if points else ""
        lines.append(
            f"| [{path.parent.name}](results/{path.parent.name}) | {summary['dataset']} {summary['split']}, "
            f"{summary['images']} images | {summary['mae']:.1f} ({low:.1f} to {high:.1f}) | {summary['rmse']:.1f} | "
            f"{summary['nae']:.3f} | {located} | {run['steps']} steps, {run['training_minutes']:.0f} minutes | "
            f"{hardware['device']}, {hardware['cores']} cores |"
        )
    return "".join(f"{line}\n" for line in lines)


def with_table(readme: str) -> str:
    """Returns the text of the README with its table replaced."""
    before, _, rest = readme.partition(START)
    return before + START + table() + END + rest.partition(END)[2]


def main() -> None:
    """Collects a run if one is named, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", help="name of the flagfile")
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
