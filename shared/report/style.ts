/** Style of a report: light and dark, as whoever reads it prefers. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fbfaf8; --ink: #1d1f24; --dim: #6b6f78; --line: #dcdad5; --card: #ffffff;
  --aws: #c2620a; --azure: #1f6feb; --door: #8250df; --calm: #8a8f98; --apart: #c0392b; --holdfast: #1a7f37;
  --good: #2f8f4e; --warn: #b7791f; --bad: #c0392b; --quiet: #b9bdc4; --band: #c0392b14;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14161a; --ink: #e6e7ea; --dim: #9aa0aa; --line: #2c3037; --card: #1b1e24;
    --aws: #f0964b; --azure: #6aa5ff; --door: #b48cff; --calm: #9aa0aa; --apart: #ff7b6b; --holdfast: #5cc882;
    --good: #3f9d61; --warn: #c99a3b; --bad: #d0584a; --quiet: #4a4f58; --band: #ff7b6b1c;
  }
}
* { box-sizing: border-box; }
body { background: var(--paper); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; margin: 0 auto; max-width: 66rem; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; letter-spacing: -0.01em; margin: 0 0 0.25rem; }
h2 { font-size: 1.05rem; margin: 2.5rem 0 0.5rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.dim, footer { color: var(--dim); }
.tiles { display: grid; gap: 0.75rem; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); margin: 1.5rem 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 0.9rem 1.1rem; }
.tile b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; letter-spacing: -0.02em; line-height: 1.25; }
.tile span { color: var(--dim); font-size: 0.86rem; }
figure { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 0.75rem 0; padding: 0.8rem 0.9rem 0.4rem; }
figcaption { font-size: 0.92rem; }
svg { display: block; height: auto; width: 100%; }
.grid { stroke: var(--line); stroke-width: 1; }
.tick, .note, .row, .word { fill: var(--dim); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
.row { fill: var(--ink); font-size: 12px; }
.band { fill: var(--band); }
.note { fill: var(--bad); }
.line { fill: none; stroke: currentColor; stroke-linejoin: round; stroke-width: 1.8; }
.aws { color: var(--aws); } .azure { color: var(--azure); } .door { color: var(--door); }
.calm { color: var(--calm); } .apart { color: var(--apart); } .holdfast { color: var(--holdfast); }
.line.calm { stroke-dasharray: 4 3; }
.legend { float: right; } .key { font-size: 0.82rem; margin-left: 0.9rem; }
.key::before { background: currentColor; border-radius: 2px; content: ""; display: inline-block; height: 3px; margin-right: 0.35rem; vertical-align: middle; width: 1.1rem; }
.span.good { fill: var(--good); } .span.warn { fill: var(--warn); } .span.bad { fill: var(--bad); } .span.quiet { fill: var(--quiet); }
.word { fill: #fff; } .word.quiet { fill: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.35rem 0.6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
thead th { color: var(--dim); font-weight: 500; }
td.text { text-align: left; }
tr.sum td { font-weight: 600; }
ul { padding-left: 1.1rem; } li { margin: 0.2rem 0; }
footer { border-top: 1px solid var(--line); font-size: 0.86rem; margin-top: 3rem; padding-top: 0.8rem; }
@media print { body { max-width: none; padding: 0; } figure, .tile { break-inside: avoid; } }
`;
