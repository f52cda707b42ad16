"""Draw dag.svg, the picture of the chain in the README: `python docs/images/draw_dag.py`.

Boxes are opaque and lines of a middle grey, so that the picture can be read on a light and on a dark page.
"""

from pathlib import Path
from typing import NamedTuple

WIDTH, HEIGHT = 1040, 300
BOX_WIDTH, BOX_HEIGHT, GAP = 142, 96, 30
GREY = "#7d8590"
FONT = "font-family='Helvetica, Arial, DejaVu Sans, sans-serif'"


class Box(NamedTuple):
    """One stage: its place (column, and row in halves of the picture), its colour and its words."""

    column: int
    row: float
    colour: str
    words: tuple[str, str, str]

    @property
    def left(self) -> float:
        """Left edge."""
        return 19 + self.column * (BOX_WIDTH + GAP)

    @property
    def middle(self) -> float:
        """Height of the middle."""
        return 58 + self.row * 150


BOXES = {
    "your files": Box(0, 0, "#eef0f2", ("ROOT trees", "one entry a jet", "")),
    "simulate": Box(0, 1, "#d9e8f6", ("Pythia 8, FastJet", "ROOT files", "10 jobs")),
    "convert": Box(1, 0.5, "#d9e8f6", ("uproot", "HDF5 shards", "5 jobs")),
    "prepare": Box(2, 0.5, "#d9e8f6", ("h5py", "splits, scaler, index", "1 job")),
    "scan": Box(3, 0, "#d8efe3", ("DeepHyper", "best settings", "4 trainings")),
    "train": Box(3, 1, "#d8efe3", ("torch, Horovod", "weights", "2 ranks")),
    "evaluate": Box(4, 0, "#f8e9d2", ("MC dropout", "metrics, predictions", "1 job")),
    "synthesize": Box(4, 1, "#f3dcea", ("hls4ml, alkaid, Yosys", "IP core", "1 job")),
    "report": Box(5, 0.5, "#f8e9d2", ("matplotlib", "one HTML page", "1 job")),
}

ARROWS = [
    ("your files", "convert"),
    ("simulate", "convert"),
    ("convert", "prepare"),
    ("prepare", "scan"),
    ("prepare", "train"),
    ("scan", "train"),
    ("train", "evaluate"),
    ("train", "synthesize"),
    ("evaluate", "report"),
    ("synthesize", "report"),
]


def text(x: float, y: float, words: str, size: float, style: str = "fill='#1f2328'") -> str:
    """Return centred words."""
    return f"<text x='{x:g}' y='{y:g}' font-size='{size}' text-anchor='middle' {FONT} {style}>{words}</text>"


def box(name: str, place: Box) -> str:
    """Return a stage: its name, the tool, what comes out, how many jobs in the demo."""
    dashes = "stroke-dasharray='5 4'" if name == "your files" else ""
    top, centre = place.middle - BOX_HEIGHT / 2, place.left + BOX_WIDTH / 2
    frame = (
        f"<rect x='{place.left:g}' y='{top:g}' width='{BOX_WIDTH}' height='{BOX_HEIGHT}' rx='9' "
        f"fill='{place.colour}' stroke='{GREY}' stroke-width='1.4' {dashes}/>"
    )
    tool, output, jobs = place.words
    lines = [
        text(centre, top + 25, name, 17, "font-weight='bold' fill='#1f2328'"),
        text(centre, top + 46, tool, 12.5),
        text(centre, top + 64, output, 12.5),
        text(centre, top + 84, jobs, 12, "fill='#59636e'"),
    ]
    return "\n".join([frame, *lines])


def arrow(start: Box, end: Box) -> str:
    """Return a curve from one box to the next: sideways, or down inside a column."""
    if start.column == end.column:
        x = start.left + BOX_WIDTH / 2
        path = f"M{x:g},{start.middle + BOX_HEIGHT / 2:g} L{x:g},{end.middle - BOX_HEIGHT / 2 - 5:g}"
    else:
        x, y, to, at = start.left + BOX_WIDTH, start.middle, end.left - 5, end.middle
        if start.row != end.row:  # meet the taller side of the middle box a little off its centre
            y += 14 * (1 if end.row > start.row else -1)
            at -= 14 * (1 if end.row > start.row else -1)
        bend = (x + to) / 2
        path = f"M{x:g},{y:g} C{bend:g},{y:g} {bend:g},{at:g} {to:g},{at:g}"
    return f"<path d='{path}' fill='none' stroke='{GREY}' stroke-width='2' marker-end='url(#head)'/>"


def draw() -> str:
    """Return the picture as SVG."""
    head = (
        "<defs><marker id='head' viewBox='0 0 10 10' refX='5' refY='5' markerWidth='5' markerHeight='5' "
        f"orient='auto'><path d='M0,0 L10,5 L0,10 z' fill='{GREY}'/></marker></defs>"
    )
    caption = (
        "Counts are those of the demo. scan, train, evaluate and synthesize read the index; "
        "report reads what all stages from convert on left."
    )
    return "\n".join(
        [
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img'>",
            "<title>The chain: from ROOT files to a report and an FPGA IP core</title>",
            head,
            *(arrow(BOXES[start], BOXES[end]) for start, end in ARROWS),
            *(box(name, place) for name, place in BOXES.items()),
            text(WIDTH / 2, HEIGHT - 12, caption, 13, f"fill='{GREY}'"),
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    Path(__file__).with_name("dag.svg").write_text(draw(), encoding="utf-8")
