"""Draws the plots of docs/explanation/statistics.md, from seeded runs of the statistics core."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import log10
from pathlib import Path
from typing import Any, NamedTuple

from trimtab.controlplane.metrics.of_requests import LATENCY_S
from trimtab.core.clock import NS_PER_S, SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.stats import Detector, Level, Mean, Quantile, Seen, Share, Windowed, Worse, certify, upper

FOLDER = Path(__file__).parent.parent / "docs" / "explanation" / "statistics"
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 260, 56, 150, 30, 36
INK, FAINT = "#1f2933", "#9aa5b1"


class Line(NamedTuple):
    """One curve, in the units of the axes. `dashed`: a limit, and no measurement."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: str
    dashed: bool = False


def random(seed: int) -> Any:
    return ClockIds(SystemClock(), seed).random


def chart(
    name: str, title: str, across: str, lines: Sequence[Line], ticks: tuple[Sequence[float], Sequence[float]]
) -> None:
    """Writes `name`.svg. `ticks`: along both axes; the outermost are their ends."""
    xs, ys = ticks

    def at(x: float, y: float) -> str:
        across_px = LEFT + (x - xs[0]) / (xs[-1] - xs[0]) * (WIDTH - LEFT - RIGHT)
        up_px = HEIGHT - BOTTOM - (min(max(y, ys[0]), ys[-1]) - ys[0]) / (ys[-1] - ys[0]) * (HEIGHT - TOP - BOTTOM)
        return f"{across_px:.1f},{up_px:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="18" font-weight="bold" fill="{INK}">{title}</text>',
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle" fill="{INK}">{across}</text>',
    ]
    for x in xs:
        px, _ = at(x, ys[0]).split(",")
        parts.append(f'<text x="{px}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle" fill="{INK}">{x:,.6g}</text>')
    for y in ys:
        _, py = at(xs[0], y).split(",")
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py}" y2="{py}" stroke="{FAINT}" stroke-width="0.4"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{float(py) + 4:.1f}" text-anchor="end" fill="{INK}">{y:,.6g}</text>')
    taken: list[float] = []
    for line in lines:
        path = " ".join(at(x, y) for x, y in line.points)
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}/>')
        up = float(at(*line.points[-1]).split(",")[1]) + 4
        while line.name and any(abs(up - other) < 13 for other in taken):
            up += 1
        taken += [up] if line.name else []
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{up:.1f}" fill="{line.colour}">{line.name}</text>')
    (FOLDER / f"{name}.svg").write_text("\n".join([*parts, "</svg>", ""]))


def flat(xs: Sequence[float], y: float) -> list[tuple[float, float]]:
    return [(xs[0], y), (xs[-1], y)]


def worse() -> None:
    """Evidence against a canary that doubles its failures, and against one that is as good as the old one."""
    lines = []
    for name, rate, colour, seed in (("5 % to 10 %", 0.10, "#c2410c", 4), ("5 % to 5 %", 0.05, "#1d4ed8", 9)):
        draw, test, points, seen = random(seed), Worse(0.0), [(0.0, 0.0)], 0
        while seen < 700:
            if draw.random() < 0.05:
                seen += 1
                test.observe(Seen("new", float(draw.random() < rate)))
                points.append((seen, max(-3.0, log10(test.e_value))))
            else:
                test.observe(Seen("old", float(draw.random() < 0.05)))
        lines.append(Line(name, points, colour))
    xs, ys = (0, 175, 350, 525, 700), (-3, 0, 3, 6)
    lines.append(Line("stop: 1/alpha", flat(xs, 3), INK, dashed=True))
    chart("worse", "Evidence that a canary is worse (log10 of the e-value)", "requests of the canary", lines, (xs, ys))


def mean() -> None:
    """Bounds of a rate of 2 %, all along."""
    draw, sequence = random(2), Mean(0.05)
    lower_, upper_, plain = [], [], []
    for count in range(1, 5001):
        sequence.observe(float(draw.random() < 0.02))
        if count % 25 == 0:
            low, high = sequence.bounds()
            lower_.append((count, 100 * low))
            upper_.append((count, 100 * high))
            plain.append((count, 100 * (sequence.estimate or 0)))
    xs, ys = (0, 1000, 2000, 3000, 4000, 5000), (0, 2, 4, 6, 8)
    lines = [
        Line("upper bound", upper_, "#c2410c"),
        Line("seen", plain, FAINT),
        Line("", flat(xs, 2), INK, dashed=True),
        Line("lower bound", lower_, "#1d4ed8"),
    ]
    chart("mean", "A rate of 2 % and its bounds at 95 %, at all times at once (%)", "values", lines, (xs, ys))


def detector() -> None:
    """A rate that rises from 1 % to 5 % after 3,000 values."""
    draw, watch, points = random(6), Detector(0.01, 100_000), []
    for count in range(1, 4001):
        watch.observe(float(draw.random() < (0.01 if count <= 3000 else 0.05)))
        if count % 5 == 0:
            points.append((count, log10(max(watch.evidence, 1e-1))))
    xs, ys = (0, 1000, 2000, 3000, 4000), (0, 2, 4, 6)
    lines = [Line("evidence", points, "#c2410c"), Line("page: 100,000", flat(xs, 5), INK, dashed=True)]
    chart("detector", "1 % becomes 5 % after 3,000 values (log10 of the evidence)", "values", lines, (xs, ys))


def level() -> None:
    """Decisions whose misses grow with the level, held to 5 %; after 4,000 each is twice as likely to be missed."""
    draw, held, values, shares, missed = random(3), Level(0.05), [], [], [False] * 400
    for count in range(1, 8001):
        late = draw.random() < (0.25 if count <= 4000 else 0.5) * held.value
        held.observe(late)
        missed = [*missed[1:], late]
        if count % 40 == 0 and count >= 400:
            values.append((count, 100 * held.value))
            shares.append((count, 100 * sum(missed) / len(missed)))
    xs, ys = (0, 2000, 4000, 6000, 8000), (0, 10, 20, 30)
    lines = [
        Line("level", values, "#1d4ed8"),
        Line("missed of 400", shares, "#c2410c"),
        Line("allowed", flat(xs, 5), INK, dashed=True),
    ]
    chart("level", "A level that is held by its own misses (%)", "decisions", lines, (xs, ys))


def quantile() -> None:
    """Answers become seven times longer: what is predicted, corrected and by a window alone."""
    lines = []
    for name, gammas, colour in (("corrected", None, "#c2410c"), ("window alone", (1e-12,), "#1d4ed8")):
        draw = random(1)
        known = Quantile(0.1) if gammas is None else Quantile(0.1, gammas=gammas)
        points = []
        for count in range(1, 1601):
            known.observe(draw.lognormvariate(5 if count <= 800 else 7, 1))
            predicted = known.predict()
            if count % 8 == 0 and predicted is not None:
                points.append((count, min(predicted, 6000)))
        lines.append(Line(name, points, colour))
    xs, ys = (0, 400, 800, 1200, 1600), (0, 2000, 4000, 6000)
    chart("quantile", "The length that one answer in ten exceeds (tokens)", "answers", lines, (xs, ys))


def sketch() -> None:
    """The 99th percentile of the last five minutes, around ten bad ones: exact, by a sketch, by a histogram."""
    draw, windowed = random(8), Windowed(300 * NS_PER_S)
    values: list[tuple[int, float]] = []
    exact, sketched, guessed = [], [], []
    for second in range(3600):
        for _ in range(4):
            value = draw.lognormvariate(-0.5, 0.4) * (2.2 if 1200 <= second < 1800 else 1)
            values.append((second, value))
            windowed.observe(value, second * NS_PER_S)
        if second >= 300 and second % 20 == 0:
            found = windowed.sketch(second * NS_PER_S)
            recent = sorted(value for _, value in values[-found.count :])
            exact.append((second / 60, recent[int(0.99 * (len(recent) - 1))]))
            sketched.append((second / 60, found.quantile(0.99) or 0.0))
            guessed.append((second / 60, interpolated(recent, 0.99)))
    xs, ys = (0, 15, 30, 45, 60), (0, 1, 2, 3, 4, 5)
    lines = [
        Line("histogram", guessed, "#1d4ed8"),
        Line("exact", exact, FAINT),
        Line("sketch", sketched, "#c2410c"),
    ]
    chart("sketch", "99th percentile of the last five minutes (s)", "minutes", lines, (xs, ys))


def interpolated(values: Sequence[float], at: float) -> float:
    """What histogram_quantile of Prometheus makes of the counts between the bounds of /metrics."""
    counts = [0] * (len(LATENCY_S) + 1)
    for value in values:
        counts[bisect_left(LATENCY_S, value)] += 1
    left, index = at * len(values), 0
    while left > counts[index]:
        left -= counts[index]
        index += 1
    below = LATENCY_S[index - 1] if index else 0.0
    return below + (LATENCY_S[index] - below) * left / counts[index]


def share() -> None:
    """What 0 and 3 wrong answers bound."""
    xs, ys = (0, 100, 200, 300, 400, 500), (0, 5, 10, 15, 20)
    counts = range(10, 501, 5)
    lines = [
        Line("3 wrong", [(n, 100 * upper(3, n)) for n in counts], "#c2410c"),
        Line("0 wrong", [(n, 100 * upper(0, n)) for n in counts], "#1d4ed8"),
    ]
    assert Share().total == 0
    chart("share", "The largest rate that explains so few (%, at 95 %)", "questions asked", lines, (xs, ys))


def control() -> None:
    """The risk of each threshold on the calibration cases, and the boldest that is certified."""
    draw = random(3)
    thresholds = [at / 100 for at in range(1, 31)]
    cases = [draw.random() for _ in range(400)]
    rows = [[float(case < threshold) for case in cases] for threshold in thresholds]
    chosen = certify(thresholds, rows, epsilon=0.1, delta=0.05).threshold
    assert chosen is not None
    xs, ys = (0, 0.1, 0.2, 0.3), (0, 10, 20, 30)
    risks = [(threshold, 100 * sum(row) / 400) for threshold, row in zip(thresholds, rows, strict=True)]
    lines = [
        Line("seen", risks, "#1d4ed8"),
        Line("allowed", flat(xs, 10), INK, dashed=True),
        Line("", [(chosen, 0), (chosen, 100 * sum(rows[thresholds.index(chosen)]) / 400)], "#c2410c"),
    ]
    chart("control", f"Wrong answers by threshold (%); certified: {chosen:g}", "threshold", lines, (xs, ys))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for draw in (worse, mean, detector, level, quantile, sketch, share, control):
        draw()


if __name__ == "__main__":
    main()
