#!/bin/sh
# From nothing to counts in a new picture: crowds are rendered, a counter is trained on them for a few minutes,
# measured on crowds that it has not seen, exported and used. `make demo` calls this with the right Python in PATH.
set -eu
cd "$(dirname "$0")"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

rm -rf runs/demo savedmodels/demo
[ -f data/demo/manifest.json ] ||
    run python -m tfrecords_tools.synthesize --output=data/demo
run python -m tfcount.train --flagfile=configs/demo.flags --model_dir=runs/demo
run python -m tfcount.evaluate --model_dir=runs/demo
run python -m tfcount.export --model_dir=runs/demo --output=savedmodels/demo
mkdir -p runs/demo/pictures
for id in test_00002 test_00011 test_00040; do
    run python -m tfrecords_tools.show data/demo --split=test --id=$id --nopoints --out=runs/demo/pictures/$id.jpg
done
run python -m tfcount.predict --savedmodel=savedmodels/demo --output=runs/demo/overlays runs/demo/pictures

python - <<'PYTHON'
import json

with open("runs/demo/evaluation.json", encoding="utf-8") as file:
    summary = json.load(file)
mae, baseline = summary["mae"], summary["mean_count_mae"]
print(f"\nMAE {mae:.1f} people on {summary['images']} unseen crowds; always answering the mean count gives {baseline:.1f}.")
print("Pictures: runs/demo/evaluation.png and runs/demo/overlays; curves: tensorboard --logdir runs/demo")
PYTHON
