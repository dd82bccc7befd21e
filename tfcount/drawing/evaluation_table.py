"""The text of an evaluation."""

# With fewer images, a bootstrap interval is that of chance.
_FEWEST = 10


def format_evaluation(summary: dict) -> str:
    """Returns the metrics, one a line, with their 95 % intervals."""
    lines = [f"{summary['dataset']} {summary['split']}: {summary['images']} images"]
    for name, digits in (("mae", 2), ("rmse", 2), ("nae", 3), ("mre", 3)):
        if summary[name] is None:
            lines.append(f"  {name.upper():<8} not defined: no image shows anyone")
            continue
        low, high = summary["interval"][name]
        lines.append(
            f"  {name.upper():<8}{summary[name]:>9.{digits}f}   95 % interval {low:.{digits}f} to {high:.{digits}f}"
        )
    lines.append(_bias_line(summary))
    if summary["game"]:
        lines.append(f"  {'GAME':<8}{''.join(f'{value:>9.2f}' for value in summary['game'])}   levels 0 to 3")
    if summary["kendall_tau"] is not None:
        lines.append(f"  {'TAU':<8}{summary['kendall_tau']:>9.3f}   Kendall: are the images in the right order?")
    if summary["ranking_accuracy"] is not None:
        accuracy = summary["ranking_accuracy"]
        lines.append(
            f"  {'RANKING':<8}{accuracy:>9.3f}   share of pairs in order, of those that differ more than twice"
        )
    if summary["sparsity"] is not None:
        lines.append(f"  {'SPARSITY':<8}{summary['sparsity']:>9.3f}   share of the cells with less than 0.001 people")
    if "extrapolated" in summary:
        lines.append(f"  {'BEYOND':<8}{summary['extrapolated']:>9}   images whose count is beyond that of all anchors")
    if "line" in summary:
        line = summary["line"]
        correction = f"x {line['slope']:.3f}" + (f" {line['intercept']:+.1f}" if line["intercept"] else "")
        lines.append(f"  {'COUNTS':<8}{correction:>9}   of the sums of densities, by {line['images']} counted images")
    if "mean_count_mae" in summary:
        lines.append(f"  {'MAE':<8}{summary['mean_count_mae']:>9.2f}   of always answering the mean count of train")
    if "localization" in summary:
        lines += _localization_lines(summary["localization"])
    return "\n".join(lines) + "\n"


def _bias_line(summary):
    low, high = summary["interval"]["bias"]
    verdict = "counts too few" if high < 0 else "counts too many" if low > 0 else "too few or too many: not shown"
    if summary["images"] < _FEWEST:
        verdict = f"too few or too many: not shown by fewer than {_FEWEST} images"
    return f"  {'BIAS':<8}{summary['bias']:>+9.2f}   95 % interval {low:+.2f} to {high:+.2f}, {verdict}"


def _localization_lines(localization):
    lines = [
        f"  points: peaks above {localization['threshold']:.3g} people a cell, {localization['images']} images",
        f"  {'':<26}{'precision':>10}{'recall':>10}{'F1':>10}",
    ]
    rows = {
        "sigma_4": "heads at 4 pixels at most",
        "sigma_8": "heads at 8 pixels at most",
        "nwpu_small": "NWPU, small radii",
        "nwpu_large": "NWPU, large radii",
        "ucf_qnrf": "UCF-QNRF, 1 to 100 pixels",
    }
    for name, text in rows.items():
        metrics = localization[name]
        if metrics:
            cells = ["-" if value is None else f"{value:.3f}" for key, value in metrics.items() if key != "auc"]
            cells += [f"AUC {metrics['auc']:.3f}"] if metrics.get("auc") is not None else []
            lines.append(f"  {text:<26}" + "".join(f"{cell:>10}" for cell in cells))
    return lines
