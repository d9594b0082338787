"""The demo's tables: every asset with its variants, and where each asset's time went."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from cli.demo.scenario import Upload
from cli.demo.timeline import Step
from cli.harness.measure import Measured

_BAR = 36


def print_variants(console: Console, uploads: Sequence[Upload], measured: dict[tuple[str, str], Measured]) -> None:
    """A row per variant; sizes as decoded from the downloaded bytes."""
    table = Table(title="Assets and variants")
    for heading in ("asset", "state", "variant", "format", "pixels", "KB", "seconds", "not black"):
        table.add_column(heading, justify="right" if heading in ("pixels", "KB", "seconds") else "left")
    for upload in uploads:
        for index, variant in enumerate(upload.asset.variants):
            found = measured.get((str(upload.asset_id), variant.profile))
            first = (upload.path.name, upload.asset.state) if index == 0 else ("", "")
            size = f"{sum(map(len, upload.files[variant.profile].values())) / 1024:.0f}"
            if found is None:
                table.add_row(*first, variant.profile, "unreadable", "", size, "", "")
                continue
            seconds = f"{found.duration_s:.2f}" if found.duration_s else ""
            pixels = f"{found.width}x{found.height}"
            visible = "no" if found.black else f"yes ({found.bright:.0%})"
            table.add_row(*first, variant.profile, found.format, pixels, size, seconds, visible)
        table.add_section()
    console.print(table)


def print_timeline(console: Console, upload: Upload, steps: Sequence[Step]) -> None:
    """A row per step, with a bar on the asset's own time axis."""
    zero = steps[0].began
    span = max(step.began + step.seconds for step in steps) - zero
    table = Table(title=f"{upload.path.name}: {span * 1000:.0f} ms from presign to the last step")
    table.add_column("step")
    table.add_column("at ms", justify="right")
    table.add_column("took ms", justify="right")
    table.add_column("")
    for step in steps:
        start = round((step.began - zero) / span * _BAR) if span else 0
        length = max(1, round(step.seconds / span * _BAR)) if span else 1
        bar = " " * min(start, _BAR - 1) + "━" * min(length, _BAR - min(start, _BAR - 1))
        table.add_row(step.name, f"{(step.began - zero) * 1000:.1f}", f"{step.seconds * 1000:.1f}", bar)
    console.print(table)
