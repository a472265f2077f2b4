"""Style of the page: its template, and its widgets in light and dark, at any width."""

from __future__ import annotations

WIDE = {"sizing_mode": "stretch_width"}
"""Fills the available width."""

TEMPLATE = """
{% from macros import embed %}
{% block preamble %}
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; --ink: #1d1f21; --soft: #5b6169; --line: #d5d9de;
  --page: #ffffff; --head: #f2f4f6; --mark: #1b7837; --warn: #8a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a9b0b8; --line: #3c4249;
  --page: #17191c; --head: #22262b; --mark: #7fc98d; --warn: #f0b35e; } }
body { background: var(--page); color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
* { box-sizing: border-box; }
main { max-width: 96rem; margin: 0 auto; padding: .8rem 1rem 3rem; display: grid; gap: .8rem 1.4rem;
  grid-template-columns: minmax(0, 17rem) minmax(0, 1fr); align-items: start; }
h1 { font-size: 1.25rem; margin: 0; } h2 { font-size: 1rem; margin: .6rem 0 .3rem; }
header { grid-column: 1 / -1; display: flex; flex-wrap: wrap; gap: .1rem 1.2rem;
  align-items: baseline; }
section { min-width: 0; } .wide { grid-column: 2; }
.seen { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 3fr); gap: 1rem; }
.cloud { display: grid; grid-template-columns: minmax(0, 38rem); }
@media (max-width: 60rem) { main { grid-template-columns: minmax(0, 1fr); }
  .wide { grid-column: 1; } .seen { grid-template-columns: minmax(0, 1fr); } }
</style>
{% endblock %}
{% block js_resources %}
<script src="static/js/bokeh.min.js?v={{ version }}"></script>
<script src="static/js/bokeh-widgets.min.js?v={{ version }}"></script>
{% endblock %}
{% block contents %}
<main>
<header><h1>Tokens</h1>{{ embed(roots.about) }}</header>
<section aria-label="choices">{{ embed(roots.choices) }}</section>
<section class="wide">
<div class="seen"><div><h2>Photograph</h2>{{ embed(roots.photograph) }}</div>
<div><h2>Token maps: principal colours, similarity to the token</h2>{{ embed(roots.maps) }}</div>
</div>
<h2>Nearest tokens of the store</h2>{{ embed(roots.nearest) }}
<h2>The dataset</h2><div class="cloud">{{ embed(roots.cloud) }}</div>
</section>
</main>
{% endblock %}
"""

WIDGETS = """
:host { --color: var(--ink); --background-color: var(--page); --border-color: var(--line);
  --surface-background-color: var(--head); --hover-color: var(--head); --active-bg: var(--line);
  --placeholder-color: var(--soft); --bokeh-base-font: system-ui, sans-serif;
  --bokeh-font-size: 13px; --default: var(--head); --default-border: var(--line);
  --default-hover: var(--line); color: var(--ink); margin: 0; }
select, input { color: var(--ink); background-color: var(--page); }
label { display: flex; gap: .35rem; white-space: normal; overflow-wrap: anywhere; }
select { color-scheme: light dark; }
option { background-color: var(--page); color: var(--ink); }
:focus-visible { outline: 2px solid var(--mark); outline-offset: 1px; }
"""

TEXT = """
:host { color: var(--ink); font: 13px/1.4 system-ui, sans-serif; margin: 0; width: 100%; }
.bk-clearfix { width: 100%; overflow-wrap: anywhere; }
.soft { color: var(--soft); } .warn { color: var(--warn); }
.places { display: grid; gap: .6rem;
  grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); }
figure { margin: 0; } .frame { position: relative; } .pair { display: grid; gap: 4px;
  grid-template-columns: 2fr 1fr; align-items: start; }
img { display: block; width: 100%; } figcaption { font-size: 11px; overflow-wrap: anywhere; }
.frame span { position: absolute; border: 2px solid #ff7f0e; outline: 1px solid #000; }
.patch { aspect-ratio: 1; background-repeat: no-repeat; image-rendering: auto; }
.bar { height: 8px; border: 1px solid var(--line); max-width: 14rem; }
.key { display: inline-block; width: .8em; height: .8em; margin: 0 .25em 0 .6em; }
"""

GRID = """
:host { display: grid !important; gap: .8rem !important; width: 100%;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); align-items: start; }
"""

CHOICES = ":host { gap: .55rem !important; }"

PANEL = ":host { width: 100%; gap: 4px !important; min-width: 0; }"
