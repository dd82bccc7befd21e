"""Measures a trained counter: `python -m tfcount.evaluate --model_dir=runs/sha --data_dir=data/sha --split=test`."""

import os

from absl.flags import DEFINE_bool, DEFINE_string

from tfcount import commands

REQUIRED = ("model_dir",)
ARGUMENTS = ""


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    DEFINE_string("model_dir", None, "Folder of the run.", flag_values=values)
    DEFINE_string(
        "data_dir", None, "Folder of records; the one that the run was trained on if not given.", flag_values=values
    )
    DEFINE_string("split", "test", "Split to count.", flag_values=values)
    DEFINE_bool(
        "localization",
        False,
        "Also measure the points that the counter finds, in pixels of the images as the records hold them.",
        flag_values=values,
    )
    DEFINE_string(
        "output",
        None,
        "Folder of the results; if not given, --model_dir, or a folder in it for other data than its own test split.",
        flag_values=values,
    )
    commands.define_json(values)


def main(arguments: list[str], values: commands.FlagValues) -> None:
    """Counts a split, prints a table, and writes `evaluation.json`, `predictions.csv` and `evaluation.png`."""
    from tfcount import comparison, evaluation
    from tfcount.drawing.evaluation_figure import draw_evaluation
    from tfcount.drawing.evaluation_table import format_evaluation
    from tfcount.records import lock, outputs
    from tfcount.records.files import write_file, write_json
    from tfcount.records.folder import Records
    from tfcount.runs import Run

    output, run = commands.Output(values.json), Run(values.model_dir)
    own_dir, notes = run.config().data.dir, run.notes()
    records = Records.open(own_dir if values.data_dir is None else values.data_dir, values.split)
    # What was measured elsewhere must not replace the evaluation of the run's own test images.
    own = os.path.abspath(records.folder) == os.path.abspath(own_dir) and values.split == "test"
    folder = run.folder if own else run.path(f"{evaluation.dataset_name(records)}_{values.split}")
    if values.output is not None:
        folder = values.output
        outputs.check_folder("output", folder)
    # Before the images are counted, which takes long.
    for name in (comparison.PREDICTIONS, "evaluation.png", "evaluation.json"):
        outputs.check_file("output", os.path.join(folder, name))
    model = run.load()
    results, summary = evaluation.evaluate_split(model, records, values.localization)
    summary["run"] = notes
    # First of all: what cannot be written is not lost.
    output.say(format_evaluation(summary))
    picture = draw_evaluation(results, summary, evaluation.largest_errors(model, results, records))
    # Not that of a training, which may go on.
    path = os.path.join(folder, f"evaluation.{lock.NAME}")
    with lock.locked(path, f"writing an evaluation to {folder!r}", patience=60):
        write_file(os.path.join(folder, comparison.PREDICTIONS), comparison.predictions_csv(results))
        write_file(os.path.join(folder, "evaluation.png"), picture)
        write_json(os.path.join(folder, "evaluation.json"), summary)
    output.say(f"Written: {folder} (evaluation.json, predictions.csv, evaluation.png)\n")
    output.document(summary)


if __name__ == "__main__":
    commands.run("evaluate")
