"""Proposes what to label next: `python -m tfcount.select_labels --strategy=ranking --data_dir=data/mine`."""

import math
import os

from absl import flags

from tfcount import commands

REQUIRED = ("data_dir",)
ARGUMENTS = ""


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    flags.DEFINE_enum(
        "strategy",
        "ranking",
        ["ranking", "anchors"],
        "What is labeled: which image of a pair shows more, or the counts of some images, from few people to many.",
        flag_values=values,
    )
    text("data_dir", None, "Folder of records.", flag_values=values)
    text("split", "train", "Split whose images are labeled.", flag_values=values)
    text("answers", None, "CSV file image_a,image_b,relation: answers to keep in the records.", flag_values=values)
    number(
        "number",
        100,
        "How many pairs, or images, to ask; with --simulate, a round.",
        lower_bound=1,
        upper_bound=2**31 - 1,
        flag_values=values,
    )
    text("output", "questions.csv", "CSV file for the questions.", flag_values=values)
    text("model_dir", None, "Run whose counts tell which pairs, or images, are worth asking.", flag_values=values)
    flags.DEFINE_float(
        "ratio", 2.0, "Counts that differ by more than this factor are told apart.", lower_bound=1.0, flag_values=values
    )
    flags.DEFINE_bool(
        "simulate",
        False,
        "Answer from the counts of the records, and tell how many questions it takes.",
        flag_values=values,
    )
    number("seed", 0, "Of what is drawn at random.", lower_bound=0, upper_bound=2**32 - 1, flag_values=values)
    commands.define_json(values)


def main(arguments: list[str], values: commands.FlagValues) -> None:
    """Reads answers, keeps them in the records, and writes the next questions; or simulates both."""
    import numpy as np

    from tfcount import evaluation
    from tfcount.labeling import pair_selection, questions, simulation
    from tfcount.labeling.anchor_selection import spread
    from tfcount.records import outputs
    from tfcount.records.folder import Records
    from tfcount.runs import Run

    if not math.isfinite(values.ratio):
        raise ValueError(f"--ratio must be a finite number. Received: {values.ratio}.")
    output, records = commands.Output(values.json), Records.open(values.data_dir, values.split)
    ids, truth = [row.id for row in records.rows], np.array([row.count for row in records.rows])
    if values.simulate:
        found = simulation.simulate(truth, values.number, values.ratio, values.seed)
        output.say(simulation.table(found))
        output.document(found)
        return
    if values.answers is not None and not os.path.isfile(values.answers):
        raise FileNotFoundError(f"--answers={values.answers} is no file. Give the CSV file with the answers.")
    if os.path.isfile(values.output):
        raise FileExistsError(
            f"{values.output} exists, and may hold answers: give another --output for the next questions, and read "
            f"answers with --answers={values.output}."
        )
    outputs.check_file("output", values.output)
    kept = questions.keep_answers(records, values.answers)
    output.say(kept.text())
    ranking = values.strategy == "ranking"
    labels = questions.add_counts(kept.labels, records, values.ratio) if ranking else kept.labels
    counts = None
    if values.model_dir is not None:
        counts = np.where(np.isnan(truth), evaluation.count_images(Run(values.model_dir).load(), records), truth)
    counted = int((~np.isnan(truth)).sum())
    if not ranking:
        estimates = pair_selection.log_counts(labels, np.zeros(len(ids))) if counts is None else counts
        asked = spread(estimates, values.number)
        questions.write_images_to_count(values.output, records.rows, asked)
        output.say(
            f"Written: {values.output} ({values.number} images, from few people to many). Fill in the last column, "
            "put it into your annotation file, and build the records again with --overwrite.\n"
        )
    else:
        if counted:
            output.say(f"Pairs of the {counted} images whose counts the records know are not asked.\n")
        asked = pair_selection.propose(labels, len(ids), values.number, values.seed, counts, values.ratio)
        if len(asked):
            questions.write_questions(values.output, asked, ids)
            output.say(
                f"Written: {values.output} ({len(asked)} pairs). Fill in the last column (greater, less, close), and "
                f"read it back with --answers={values.output} and another --output.\n"
            )
        else:
            output.say("Nothing is left to ask: of every pair there is an answer, or one that follows from others.\n")
    output.document({**kept.summary(), "counted": counted, "questions": np.array(ids, object)[asked].tolist()})


if __name__ == "__main__":
    commands.run("select_labels")
