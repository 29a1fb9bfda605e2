"""The pictures in the README: what a run shows at its end, as SVG.

python -m bench.picture runs/demo docs/star-gate.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console

from sparring.files import read_json
from sparring.report.terminal import show_summary


def main(run: Path, picture: Path) -> None:
    console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True, highlight=False)
    summary = read_json(run / "summary.json")
    show_summary(console, summary, run)
    svg = console.export_svg(title=f"sparring run {summary['recipe']}")
    # Rich names a web font; without it the picture shows in any monospaced font and asks no server for anything.
    picture.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
