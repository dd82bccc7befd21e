"""Proposes what to label next: `python -m tfcount.select_labels --strategy=ranking --data_dir=data/mine`."""

import os
import sys

import numpy as np
import tqdm
from absl import flags

import tfcount.flags
from tfcount import evaluation, experiment
from tfcount.data import streams
from tfcount.labeling import pair_selection, questions, simulation
from tfcount.labeling.order import against_counts, check
from tfcount.models import anchors
from tfcount.records.files import write_file
from tfcount.records.folder import Records
from tfcount.records.labels import PairLabel, now, read_labels, write_labels


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of this command, at its start: other commands have flags of the same names."""
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    flags.DEFINE_enum(
        "strategy",
        "ranking",
        ["ranking", "anchors"],
        "What is labeled: which image of a pair shows more, or the counts of some images, from few people to many.",
        flag_values=values,
    )
    text("data_dir", None, "Folder of records.", required=True, flag_values=values)
    text("split", "train", "Split whose images are labeled.", flag_values=values)
    text("answers", None, "CSV file image_a,image_b,relation: answers to keep in the records.", flag_values=values)
    number(
        "number", 100, "How many pairs, or images, to ask; with --simulate, a round.", lower_bound=1, flag_values=values
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
    number("seed", 0, "Of what is drawn at random.", lower_bound=0, flag_values=values)


def main(argv, values: flags.FlagValues = flags.FLAGS):
    """Reads answers, keeps them in the records, and writes the next questions; or simulates both."""
    records = Records.open(values.data_dir, values.split)
    if values.simulate:
        truth = np.array([row.count for row in records.rows])
        sys.stdout.write(simulation.simulate(truth, values.number, values.ratio, values.seed))
        return
    if os.path.exists(values.output):
        raise FileExistsError(
            f"{values.output} exists, and may hold answers: give another --output for the next questions, and read "
            f"answers with --answers={values.output}."
        )
    ids = [row.id for row in records.rows]
    kept = read_labels(values.data_dir, values.split, PairLabel)
    before = set(kept)
    if values.answers:
        kept = questions.merge(kept, questions.read_answers(values.answers, ids), now())
    labels = questions.index_pairs(kept, ids)
    # Before they are kept: labels that contradict each other are told, and change nothing.
    order = check(labels, ids)
    if values.answers:
        write_labels(values.data_dir, values.split, PairLabel, kept)
        new, replaced = set(kept) - before, before - set(kept)
        sys.stdout.write(
            f"Kept {len(new)} new labels of pairs in {values.data_dir}, {len(replaced)} in place of others.\n"
        )
    sys.stdout.write(f"{len(kept)} labels of pairs, {order.count()} pairs known with what follows from them.\n")
    for line in against_counts(labels.greater, np.array([row.count for row in records.rows]), ids):
        sys.stdout.write(f"Warning: {line}\n")
    counts = _counted(values.model_dir, records) if values.model_dir else None
    if values.strategy == "anchors":
        estimates = pair_selection.log_counts(labels, np.zeros(len(ids))) if counts is None else counts
        write_file(values.output, questions.images_to_count(records.rows, anchors.spread(estimates, values.number)))
        sys.stdout.write(
            f"Written: {values.output} ({values.number} images, from few people to many). Fill in the last column, "
            "put it into your annotation file, and build the records again with --overwrite.\n"
        )
        return
    pairs = pair_selection.propose(labels, len(ids), values.number, values.seed, counts, values.ratio)
    if not len(pairs):
        sys.stdout.write("All pairs are known: there is nothing left to ask.\n")
        return
    questions.write_questions(values.output, pairs, ids)
    sys.stdout.write(
        f"Written: {values.output} ({len(pairs)} pairs). Fill in the last column (greater, less, close), and read it "
        f"back with --answers={values.output} and another --output.\n"
    )


def _counted(model_dir, records):
    """Returns what the counter of a run counts in each image."""
    counter, config = experiment.load_counter(model_dir)
    density = evaluation.density_function(counter)
    bar = tqdm.tqdm(
        streams.evaluation(records, config.data), total=len(records.rows), unit="image", desc="count", leave=False
    )
    found = {
        one["id"].numpy().decode(): counter.anchors.count(float(np.sum(density(one["image"]), dtype=np.float64)))
        for one in bar
    }
    return np.array([found[row.id] for row in records.rows])


if __name__ == "__main__":
    define_flags()
    tfcount.flags.run(main)
