"""The page around the report's sections: its styles, for light and dark, wide and narrow; nothing from the network."""

from __future__ import annotations

from html import escape

from benchmarks.report_rivals import BACKGROUND, variables

LIGHT = {
    "--page": BACKGROUND[0],
    "--card": "#f6f7f9",
    "--ink": "#1b1f24",
    "--soft": "#57606a",
    "--edge": "#d4d9df",
    "--grid": "#e6e9ed",
    "--good": "#1a7f37",
    "--bad": "#b42318",
}
DARK = {
    "--page": BACKGROUND[1],
    "--card": "#1e2126",
    "--ink": "#e8eaed",
    "--soft": "#a3abb5",
    "--edge": "#3a4048",
    "--grid": "#2c3138",
    "--good": "#4cc26a",
    "--bad": "#ff8f85",
}
STYLES = """
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1180px; padding: 1rem clamp(0.8rem, 3vw, 2rem) 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0.5rem 0 0; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.4rem; padding-top: 0.8rem; border-top: 2px solid var(--edge); }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.3rem; }
p { margin: 0.4rem 0; max-width: 78ch; }
a { color: inherit; }
small, .soft { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: 0.2rem 1rem; margin: 0.6rem 0; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 0.8rem;
  margin: 1rem 0; }
.facts > div, figure { background: var(--card); border: 1px solid var(--edge); border-radius: 8px;
  padding: 0.7rem 0.9rem; }
.facts h3 { margin: 0 0 0.2rem; font-size: 0.95rem; }
.facts p, .facts ul { margin: 0.15rem 0; overflow-wrap: anywhere; }
.facts ul { padding-left: 1.1rem; }
.verdict { font-weight: 600; }
.good { color: var(--good); }
.bad { color: var(--bad); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); gap: 0.8rem;
  align-items: start; margin: 0.6rem 0; }
.charts.wide { grid-template-columns: minmax(0, 1fr); }
figure { margin: 0; overflow-x: auto; }
figcaption { font-weight: 600; margin-bottom: 0.2rem; }
figcaption span { font-weight: 400; color: var(--soft); }
figure svg { display: block; width: 100%; height: auto; max-width: 560px; }
.wide figure svg { min-width: 560px; max-width: 900px; margin: 0 auto; }
.legend { display: flex; flex-wrap: wrap; gap: 0.15rem 1.1rem; margin: 0.6rem 0; padding: 0; list-style: none; }
.legend svg { width: 14px; height: 14px; vertical-align: -2px; margin-right: 0.3rem; }
.scroll { overflow-x: auto; margin: 0.6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.88rem; }
caption { text-align: left; color: var(--soft); padding: 0.2rem 0; }
th, td { padding: 0.25rem 0.7rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; }
th:first-child { text-align: left; }
thead th { border-bottom: 2px solid var(--edge); vertical-align: bottom; }
td.best { font-weight: 700; }
td.us { background: var(--card); }
summary { cursor: pointer; margin: 0.4rem 0; }
svg text { fill: var(--ink); font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
svg .tick { fill: var(--soft); font-size: 11px; }
svg .name { fill: var(--ink); }
svg .ours { font-weight: 700; }
svg .value, svg .pointname { font-size: 11px; }
svg .roofname { fill: var(--soft); font-size: 11px; font-style: italic; }
svg .grid { stroke: var(--grid); stroke-width: 1; }
svg .line { stroke: var(--c); stroke-width: 1.5; stroke-linejoin: round; }
svg .line.ours { stroke-width: 3; }
svg .fitted { stroke: var(--c); stroke-width: 1.5; stroke-dasharray: 5 4; }
svg .leader { stroke: var(--c); stroke-width: 1; opacity: 0.8; }
svg .whisker { stroke: var(--c); stroke-width: 1; }
svg .mark { fill: var(--c); stroke: var(--c); }
svg .hollow { fill: none; stroke: var(--c); stroke-width: 1.5; }
svg .bar { fill: var(--c); }
svg .range { stroke: var(--ink); stroke-width: 1.2; opacity: 0.75; }
svg .limit, svg .one { stroke: var(--ink); stroke-width: 1.2; }
svg .limit { stroke-dasharray: 4 3; }
svg .halo { stroke: var(--card); stroke-width: 3.5; }
svg .pointname, svg .roofname { paint-order: stroke; stroke: var(--card); stroke-width: 3px; }
svg .roof { stroke: var(--ink); stroke-width: 2; stroke-linejoin: round; }
@media (max-width: 640px) { tbody th { white-space: normal; min-width: 9rem; } th, td { padding: 0.25rem 0.45rem; } }
@media print { details > * { display: block; } nav { display: none; } }
"""


def page(title: str, body: str) -> str:
    """A complete HTML document."""
    light, dark = (
        "\n".join([*(f"{name}: {value};" for name, value in theme.items()), variables(dark)])
        for dark, theme in ((False, LIGHT), (True, DARK))
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta name="color-scheme" content="light dark"/>
<title>{escape(title)}</title>
<style>
:root {{ color-scheme: light dark;
{light} }}
@media (prefers-color-scheme: dark) {{ :root {{
{dark} }} }}
{STYLES}</style>
</head>
<body>
{body}
</body>
</html>
"""


def figure(title: str, picture: str, remark: str = "") -> str:
    """A picture with its caption."""
    note = f" <span>{escape(remark)}</span>" if remark else ""
    return f"<figure><figcaption>{escape(title[:1].upper() + title[1:])}{note}</figcaption>\n{picture}\n</figure>"


def charts(figures: list[str], wide: bool = False) -> str:
    """Figures side by side where there is room, or each over the whole width."""
    look = "charts wide" if wide else "charts"
    return f'<div class="{look}">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def folded(summary: str, content: str) -> str:
    """Content that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>\n{content}\n</details>"
