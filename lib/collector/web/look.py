"""How the page for people looks and renews itself; nothing comes from elsewhere."""

import base64
import hashlib

STYLE = """
:root {
  color-scheme: light dark;
  --back: #f4f5f7; --card: #fff; --text: #1c2128; --soft: #59626f; --line: #dfe3e8;
  --link: #0b5cad; --track: #e6e9ee; --blue: #2f6fd0;
  --good: #1a7f46; --warn: #8a5a00; --bad: #c0262d; --gone: #59626f;
  --good-fill: #2fa463; --warn-fill: #e0a21b; --bad-fill: #dc4046;
  --good-back: #e5f5ec; --warn-back: #fdf3da; --bad-back: #fdeaea; --gone-back: #eceff2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #101418; --card: #191f26; --text: #e4e8ed; --soft: #9fabb8;
    --line: #2c343e; --link: #79b4ff; --track: #2b333d; --blue: #5c97ec;
    --good: #5fd08e; --warn: #f0bd50; --bad: #ff8a86; --gone: #9fabb8;
    --good-fill: #2f9e60; --warn-fill: #c98f1a; --bad-fill: #dd4b4e;
    --good-back: #12291d; --warn-back: #2e2510; --bad-back: #361819;
    --gone-back: #222a33;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--back); color: var(--text); line-height: 1.5;
  font: 0.95rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans",
    sans-serif;
  overflow-wrap: anywhere;
}
.frame { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem; }
a { color: var(--link); }
:focus-visible { outline: 3px solid var(--blue); outline-offset: 2px; }
h1, h2, h3, p, dl, dd, ul { margin: 0; padding: 0; }
h1 { font-size: 1.35rem; line-height: 1.25; }
h2 { font-size: 1.1rem; margin-bottom: 0.75rem; }
h3 { font-size: 0.95rem; margin: 1.25rem 0 0.5rem; }
.soft { color: var(--soft); }
.small { font-size: 0.85rem; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 0.5rem; background: var(--card); padding: 0.5rem; }
.unseen {
  position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}
.good { color: var(--good); } .warn { color: var(--warn); }
.bad { color: var(--bad); } .gone { color: var(--gone); }

header { background: var(--card); border-bottom: 1px solid var(--line); }
header .frame {
  display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; align-items: center;
  padding-top: 1rem; padding-bottom: 1rem;
}
header .title { flex: 1 1 18rem; min-width: 0; }
.state {
  display: inline-flex; align-items: center; gap: 0.5rem; font-weight: 700;
  padding: 0.35rem 0.9rem 0.35rem 0.6rem; border-radius: 99px;
}
.state.good { background: var(--good-back); }
.state.warn { background: var(--warn-back); }
.state.bad { background: var(--bad-back); }
.state.gone { background: var(--gone-back); }
.state svg { width: 1.25rem; height: 1.25rem; }
#note { flex-basis: 100%; font-weight: 600; }
#note:empty { display: none; }
button {
  font: inherit; color: var(--link); background: none; border: 1px solid var(--line);
  border-radius: 6px; padding: 0.2rem 0.7rem; cursor: pointer;
}
nav ul {
  list-style: none; display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem;
  padding: 0.75rem 0;
}
main { display: grid; gap: 1rem; padding-bottom: 1.5rem; }
main > section, .pair > section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 1.1rem 1.25rem; min-width: 0;
}
.pair { display: grid; gap: 1rem; grid-template-columns: 1fr 1fr; }
footer { color: var(--soft); font-size: 0.85rem; padding-bottom: 2rem; }

.tiles {
  display: grid; gap: 1rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
}
p + .tiles { margin-top: 0.9rem; }
.tiles dt { color: var(--soft); font-size: 0.85rem; }
.tiles dd { font-size: 1.2rem; font-weight: 600; line-height: 1.3; }
.tiles dd span { display: block; font-size: 0.85rem; font-weight: 400; }
.checks { list-style: none; display: grid; gap: 0.6rem; margin-bottom: 1.1rem; }
p + .checks { margin-top: 0.6rem; }
.checks li {
  border-left: 4px solid; border-radius: 6px; padding: 0.6rem 0.9rem;
  background: var(--gone-back); border-color: var(--gone);
}
.checks .warn { background: var(--warn-back); border-color: var(--warn-fill); }
.checks .bad { background: var(--bad-back); border-color: var(--bad-fill); }
.checks li, .checks details { color: var(--text); }
.checks strong.word { color: inherit; }
.checks code { color: var(--soft); font-size: 0.8rem; }
.checks p + p { margin-top: 0.2rem; }
details ul { padding-left: 1.2rem; font-size: 0.85rem; }
summary { cursor: pointer; color: var(--link); font-size: 0.85rem; }

meter, progress {
  appearance: none; -webkit-appearance: none; display: block; width: 100%;
  height: 0.6rem; border: 0; border-radius: 99px; background: var(--track);
  overflow: hidden;
}
.big { height: 1rem; margin: 0.4rem 0; }
meter::-webkit-meter-bar {
  grid-row: 1 / -1; height: 100%; background: none; border: 0; border-radius: 99px;
}
meter::-webkit-meter-optimum-value { background: var(--good-fill); }
meter::-webkit-meter-suboptimum-value { background: var(--warn-fill); }
meter::-webkit-meter-even-less-good-value { background: var(--bad-fill); }
meter.plain::-webkit-meter-optimum-value { background: var(--blue); }
meter::-moz-meter-bar { background: var(--good-fill); }
meter:-moz-meter-sub-optimum::-moz-meter-bar { background: var(--warn-fill); }
meter:-moz-meter-sub-sub-optimum::-moz-meter-bar { background: var(--bad-fill); }
meter.plain::-moz-meter-bar { background: var(--blue); }
progress::-webkit-progress-bar { background: var(--track); }
progress::-webkit-progress-value { background: var(--blue); }
progress::-moz-progress-bar { background: var(--blue); }
.share {
  display: grid; grid-template-columns: 1fr 3.2rem; gap: 0.6rem; align-items: center;
}
.share span { text-align: right; }

table { width: 100%; border-collapse: collapse; font-size: 0.9rem; }
caption {
  text-align: left; color: var(--soft); font-size: 0.85rem; padding-bottom: 0.5rem;
}
caption strong { display: block; color: var(--text); font-size: 0.95rem; }
th, td {
  text-align: left; padding: 0.4rem 0.75rem 0.4rem 0; vertical-align: middle;
  border-top: 1px solid var(--line); font-variant-numeric: tabular-nums;
}
tbody th { font-weight: 600; }
thead th {
  border: 0; color: var(--soft); font-weight: 500; font-size: 0.8rem;
  vertical-align: bottom;
}
.number { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.gap { height: 1.1rem; }
.event { margin-top: 0.6rem; }
.more { margin-top: 0.5rem; }

.map { display: block; max-width: 100%; height: auto; }
.map .good { fill: var(--good-fill); } .map .warn { fill: var(--warn-fill); }
.map .bad { fill: var(--bad-fill); }
.map .down { fill: none; stroke: var(--bad); stroke-width: 1.6; }
.map .out { fill: none; stroke: var(--soft); stroke-width: 1.2; }
.map .gone { fill: var(--soft); }
.key { display: inline-flex; gap: 0.35rem; align-items: center; margin-right: 1rem; }

@media (min-width: 44.01rem) {
  .number + td:not(.number), .number + th:not(.number) { padding-left: 1.25rem; }
  .meter { width: 22%; min-width: 8rem; }
  .pair .meter { width: 34%; }
}
@media (max-width: 62rem) { .pair { grid-template-columns: 1fr; } }
@media (max-width: 44rem) {
  .frame { padding: 0 0.75rem; }
  main > section, .pair > section { padding: 0.9rem; }
  table, tbody, caption { display: block; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(8.25rem, 1fr)); }
  thead {
    position: absolute; clip-path: inset(50%); width: 1px; height: 1px;
    overflow: hidden;
  }
  tbody tr {
    display: grid; grid-template-columns: repeat(auto-fit, minmax(5.5rem, 1fr));
    gap: 0.4rem 0.75rem;
    border-top: 1px solid var(--line); padding: 0.6rem 0;
  }
  tbody tr > th, tbody tr > td[data-name] {
    display: block; border: 0; padding: 0; text-align: left; width: auto;
  }
  tbody th, tbody .meter, tbody .whole { grid-column: 1 / -1; }
  tbody .broad { grid-column: span 2; }
  tbody td[data-name]::before {
    content: attr(data-name); display: block; color: var(--soft); font-size: 0.75rem;
  }
  tbody tr > td.none { display: none; }
}
@media (forced-colors: active) {
  .checks li, .state { border: 1px solid; }
  meter, progress { forced-color-adjust: none; }
}
@media print {
  nav, button, .skip { display: none; }
  body { background: none; }
}
"""

# The page is complete without it.  With it, what changed is put in place: the page does
# not jump, what is open stays open, and a screen reader is told of changes of the state
# only.
SCRIPT = """
(() => {
  const one = (where, what) => where.querySelector(what);
  const note = one(document, "#note"), told = one(document, "#told");
  const parts = ["#head", "#badge", "main", "footer"];
  let ahead = 0, paused = false, failed = null;

  const words = seconds => seconds < 120 ? `${seconds} s` : seconds < 7200 ?
    `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
  const show = (where, text) => {
    if (where.textContent !== text) where.textContent = text;
  };
  const age = () => {
    const main = one(document, "main");
    const seconds = Date.now() / 1000 - ahead - Number(main.dataset.taken);
    const read = Math.max(0, Math.round(seconds));
    show(one(document, "#age"), `${words(read)} ago`);
    const limit = 3 * Number(main.dataset.interval) + 30;
    show(note,
      failed ? `No answer from the collector since ${failed}: what you see is old.` :
      seconds > limit && !paused ? "The collector has read nothing new for a while." :
      "");
  };

  const renew = async () => {
    if (paused || document.hidden) return;
    let page;
    try {
      const limit = AbortSignal.timeout(20000);
      const answer = await fetch(location.href, {cache: "no-store", signal: limit});
      if (!answer.ok) throw answer;
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!one(page, "main")) throw page;
      const date = Date.parse(answer.headers.get("Date"));
      if (date) ahead = Math.round((Date.now() - date) / 1000);
    } catch {
      failed ??= new Date().toLocaleTimeString();
      return age();
    }
    failed = null;
    // Not while something is being marked, nor while it was paused meanwhile.
    if (paused || !getSelection().isCollapsed) return age();
    const open = [...document.querySelectorAll("details[open]")].map(found => found.id);
    const focus = document.activeElement?.id;
    const before = one(document, "#state").textContent;
    for (const part of parts) one(document, part).replaceWith(one(page, part));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focus && focus !== document.activeElement.id)
      document.getElementById(focus)?.focus({preventScroll: true});
    document.title = page.title;
    one(document, "link[rel=icon]").replaceWith(one(page, "link[rel=icon]"));
    const after = one(document, "#state").textContent;
    if (before !== after) told.textContent = `Storage: ${after}`;
    age();
  };

  const button = document.createElement("button");
  button.type = "button";
  const label = () => button.textContent = paused ? "Go on" : "Pause";
  button.addEventListener("click", () => {
    paused = !paused;
    label();
    if (!paused) renew();
  });
  label();
  one(document, "#place").append(button);
  document.addEventListener("visibilitychange", renew);
  setInterval(age, 1000);
  const interval = Math.max(2, Number(one(document, "main").dataset.interval));
  setInterval(renew, interval * 1000);
  age();
})();
"""

#: A tick, a warning, a cross and a question, 24 wide: told apart without colour.
ICONS = {
    "good": "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.5 14.5-4-4 1.6-1.6 2.4 2.4"
    " 5.4-5.4 1.6 1.6z",
    "warn": "M12 2 1 21h22zm-1.2 7h2.4v6h-2.4zm0 7.6h2.4V19h-2.4z",
    "bad": "M7.8 2h8.4L22 7.8v8.4L16.2 22H7.8L2 16.2V7.8zm-.2 7.1 2.9 2.9-2.9 2.9"
    " 1.5 1.5 2.9-2.9 2.9 2.9 1.5-1.5-2.9-2.9 2.9-2.9-1.5-1.5-2.9 2.9-2.9-2.9z",
    "gone": "M12 2a10 10 0 1 0 0 20 10 10 0 0 0 0-20zm-1.2 14.5h2.4v2.3h-2.4zM8 9.3C8 7"
    " 9.7 5.4 12 5.4S16 7 16 9c0 2.5-2.8 3-2.8 5.6h-2.4c0-3.4 2.7-3.9 2.7-5.5"
    " 0-.8-.6-1.4-1.5-1.4s-1.6.6-1.6 1.6z",
}

#: What the icon of the page in a list of pages is filled with.
COLOURS = {"good": "#2fa463", "warn": "#e0a21b", "bad": "#dc4046", "gone": "#7d8794"}


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


#: What a browser may do with the page; for the header ``Content-Security-Policy``.
POLICY = "; ".join(
    (
        "default-src 'none'",
        f"style-src {_hash(STYLE)}",
        f"script-src {_hash(SCRIPT)}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
