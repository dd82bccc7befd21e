"""Compares counters on the same images: `python -m tfcount.compare results/one results/other`."""

from absl.flags import DEFINE_string

from tfcount import commands

REQUIRED = ()
ARGUMENTS = "RESULTS RESULTS ..."


def define_flags(values: commands.FlagValues) -> None:
    """Defines the flags of this command."""
    DEFINE_string(
        "output", None, "PNG file for a picture of the comparison; if not given, none is drawn.", flag_values=values
    )
    commands.define_json(values)


def main(arguments: list[str], values: commands.FlagValues) -> None:
    """Prints a table with the paired differences to the first folder, and draws them where that is asked for."""
    from tfcount import comparison
    from tfcount.drawing.comparison_figure import draw_comparison
    from tfcount.records import outputs
    from tfcount.records.files import write_file

    if len(arguments) < 2:
        raise ValueError("which results? Name two folders or more: python -m tfcount.compare results/one results/other")
    if values.output is not None:
        outputs.check_file("output", values.output)
    output = commands.Output(values.json)
    results = comparison.read_results(arguments)
    rows = comparison.summarize(results)
    output.say(comparison.table(results, rows))
    if values.output is not None:
        write_file(values.output, draw_comparison(results, rows))
        output.say(f"Written: {values.output}\n")
    output.document(
        {"images": len(results[0].ids), "results": [{"name": one.name, **row} for one, row in zip(results, rows)]}
    )


if __name__ == "__main__":
    commands.run("compare")
