"""What the storms of `make prove-storm` come to: the table in docs/storm.md and its plot."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- the figures: written by make prove-storm -->", "<!-- end of the figures -->"

WIDTH, HEIGHT, LEFT, TOP, GAP = 760, 180, 60, 40, 70
BLUE, ORANGE, GREY = "#2f6fb3", "#d9822b", "#7a7a7a"


def write(storms, version):
    """Put the figures into docs/storm.md, and draw docs/storm.svg."""
    page = DOCS / "storm.md"
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    one = storms[0]
    what = f"{one.clients} functions at `max_connections={one.max_connections}`, MySQL {version}."
    text = f"{what}\n\n{table(storms)}"
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
    (DOCS / "storm.svg").write_text(plot(storms))


def table(storms):
    lines = [
        "| Line | Transaction | Waits | First done | Half | All | Refused | Worst 0.1 s | Peak |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {'TLS' if one.tls else 'in the clear'} | {one.work * 1000:.0f} ms | {one.waits} "
        f"| {one.ended[0]:.2f} s | {one.ended[len(one.ended) // 2]:.2f} s | {one.ended[-1]:.2f} s "
        f"| {len(one.refused)} | {one.most_at_once} | {one.peak} |"
        for one in storms
    ]
    return "\n".join(lines)


def plot(storms):
    """Return the SVG: connections over time, and refused tries over time, jittered and not."""
    clear, tls, plain = (
        next(one for one in storms if (one.tls, one.waits) == kind and one.work == storms[0].work)
        for kind in [(False, "jitter"), (True, "jitter"), (False, "none")]
    )
    seconds = max(one.ended[-1] for one in (clear, tls, plain)) + 0.2
    upper = _panel(
        f"Connections of {clear.clients} functions",
        seconds,
        clear.max_connections * 1.15,
        0,
        [
            ("in the clear", BLUE, clear.connected),
            ("TLS", ORANGE, tls.connected),
            (
                f"max_connections = {clear.max_connections}",
                GREY,
                [(0, clear.max_connections), (seconds, clear.max_connections)],
            ),
        ],
    )
    counts = [("with jitter", BLUE, _tenths(clear)), ("without", ORANGE, _tenths(plain))]
    most = max(count for _, _, points in counts for _, count in points)
    lower = _panel(
        "Refused tries, in each tenth of a second", seconds, most * 1.15, HEIGHT + GAP, counts
    )
    height = TOP + 2 * HEIGHT + GAP + 50
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 20} {height}" '
        'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{upper}\n{lower}\n</svg>\n'
    )


def _tenths(storm):
    """Return how many tries failed in each tenth of a second, as a line of steps."""
    tenths = [int(at * 10) for at in storm.refused]
    points = []
    for tenth in range(max(tenths) + 2):
        count = tenths.count(tenth)
        points += [(tenth / 10, count), ((tenth + 1) / 10, count)]
    return points


def _panel(title, seconds, highest, down, lines):
    """Return one chart, `down` below the first, of lines that are named above it."""
    top, bottom = TOP + down, TOP + down + HEIGHT

    def at(x, y):
        return f"{LEFT + x / seconds * WIDTH:.1f},{bottom - y / highest * HEIGHT:.1f}"

    parts = [f'<text x="{LEFT}" y="{top - 14}" font-size="14">{title}</text>']
    for second in range(int(seconds) + 1):
        x = at(second, 0).partition(",")[0]
        parts.append(f'<line x1="{x}" y1="{top}" x2="{x}" y2="{bottom}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{x}" y="{bottom + 18}" text-anchor="middle">{second} s</text>')
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000) if highest / step < 8)
    for value in range(0, int(highest) + 1, step):
        y = at(0, value).partition(",")[2]
        parts.append(f'<line x1="{LEFT}" y1="{y}" x2="{LEFT + WIDTH}" y2="{y}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y}" text-anchor="end" dy="4">{value}</text>')
    for row, (name, colour, points) in enumerate(lines):
        dash = ' stroke-dasharray="5 4"' if colour == GREY else ""
        path = " ".join(at(x, y) for x, y in points if x <= seconds)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>'
        )
        x, y = LEFT + WIDTH - 170 * (len(lines) - row), top - 18
        parts += [
            f'<line x1="{x}" y1="{y}" x2="{x + 24}" y2="{y}" stroke="{colour}"{dash}/>',
            f'<text x="{x + 30}" y="{y + 4}">{name}</text>',
        ]
    return "\n".join(parts)
