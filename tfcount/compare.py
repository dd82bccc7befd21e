"""Compares counters on the same images: `python -m tfcount.compare results/one results/other`."""

import sys

from absl import flags

import tfcount.flags
from tfcount.comparison import read_results, summarize, table
from tfcount.drawing.comparison_figure import draw_comparison
from tfcount.records.files import write_file


def main(argv):
    """Prints a table with the paired differences to the first folder, and draws them."""
    if len(argv) < 3:
        raise ValueError("which results? Name two folders or more: python -m tfcount.compare results/one results/other")
    results = read_results(argv[1:])
    rows = summarize(results)
    sys.stdout.write(table(results, rows))
    write_file(flags.FLAGS.output, draw_comparison(results, rows))
    sys.stdout.write(f"Written: {flags.FLAGS.output}\n")


if __name__ == "__main__":
    flags.DEFINE_string("output", "comparison.png", "Where to draw the comparison.")
    tfcount.flags.run(main, takes_arguments=True)
