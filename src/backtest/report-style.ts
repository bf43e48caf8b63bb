/** Colours by variables: light, and dark where the reader's system is. On paper it is light. */
export const reportStyle = `
:root{color-scheme:light dark;--paper:#fbfaf8;--card:#fff;--ink:#1d2733;--soft:#5c6875;--line:#dfe3e8;--grid:#eceff2;--good:#e3f3e8;--good-ink:#14532d;--bad:#fdeaea;--bad-ink:#7f1d1d;
--c0:#1f5fbf;--c1:#c2410c;--c2:#15803d;--c3:#7c3aed;--c4:#a16207;--c5:#be185d;--c6:#0e7490;--c7:#4b5563;--genuine:#c4ccd6;--false:#d5dbe2;--frauds:#1d2733}
@media (prefers-color-scheme:dark){:root{--paper:#12171d;--card:#1a2129;--ink:#e6ebf0;--soft:#9aa7b4;--line:#2d3743;--grid:#242d37;--good:#123322;--good-ink:#a7e3bd;--bad:#3a1a1a;--bad-ink:#f3b4b4;
--c0:#6ea8fe;--c1:#fb923c;--c2:#4ade80;--c3:#b79cf9;--c4:#eab308;--c5:#f472b6;--c6:#22d3ee;--c7:#a3adb8;--genuine:#46525f;--false:#3b4652;--frauds:#e6ebf0}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}
.kicker{margin:0;color:var(--soft);font-size:13px;letter-spacing:.08em;text-transform:uppercase}
h1{margin:2px 0 6px;font-size:32px;line-height:1.2;letter-spacing:-.01em}
h2{margin:44px 0 12px;font-size:20px;letter-spacing:-.005em}
h3{margin:0 0 6px;font-size:15px}
.lead{margin:0 0 20px;color:var(--soft);max-width:75ch}
code{font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:1px;margin:0;background:var(--line);border:1px solid var(--line);border-radius:10px;overflow:hidden}
.facts div{background:var(--card);padding:14px 18px}
.facts dt{color:var(--soft);font-size:13px}
.facts dd{margin:0;font-size:24px;font-weight:600;font-variant-numeric:tabular-nums}
.facts dd.more{font-size:13px;font-weight:400;color:var(--soft);overflow-wrap:anywhere}
.verdict{margin:28px 0 14px;padding:14px 18px;border-radius:10px;overflow-wrap:anywhere}
.verdict.good{background:var(--good);color:var(--good-ink)}
.verdict.bad{background:var(--bad);color:var(--bad-ink)}
.scroll{overflow-x:auto}
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--line);font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:8px 12px;border-top:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,.about td{text-align:left}
thead th{border-top:0;color:var(--soft);font-weight:500;font-size:13px;vertical-align:bottom}
thead .groups th{padding-bottom:0;text-align:center;border-bottom:0}
thead .groups th:first-child{border:0}
tbody th{font-weight:500;white-space:nowrap}
td.best{font-weight:700}
.changes td{width:25%}.changes td.same{color:var(--soft)}.changes small{display:block;color:var(--soft);font-size:12px}
.about th{color:var(--soft);font-weight:500;width:110px}
.about ul{padding-left:20px;max-width:85ch}.about li{margin:4px 0}.about h3{margin-top:20px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:16px}
.pairs{display:grid;gap:24px}.pairs p{margin:0 0 8px;color:var(--soft)}
.pairs tbody th,.pairs td{padding:4px 12px}
.is-fraud{color:var(--c1)}
figure{margin:0;padding:14px 16px 12px;background:var(--card);border:1px solid var(--line);border-radius:10px}
figcaption{color:var(--soft);font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:0 0 12px;font-size:14px}
.swatch{display:inline-block;width:11px;height:11px;margin-right:7px;border-radius:3px;background:var(--series)}
.c0{--series:var(--c0)}.c1{--series:var(--c1)}.c2{--series:var(--c2)}.c3{--series:var(--c3)}.c4{--series:var(--c4)}.c5{--series:var(--c5)}.c6{--series:var(--c6)}.c7{--series:var(--c7)}
.swatch.genuine{background:var(--genuine)}.swatch.false{background:var(--false)}.swatch.frauds{height:3px;vertical-align:middle;background:var(--frauds)}
.swatch.fraudulent{background:linear-gradient(90deg,var(--c0) 50%,var(--c1) 50%)}
svg{display:block;width:100%;height:auto;margin:2px 0 4px}
svg text{fill:var(--soft);font-size:12px}
svg .note{font-size:11px}
svg .grid{stroke:var(--grid)}svg .axis{fill:none;stroke:var(--line)}
svg .line{fill:none;stroke:var(--series);stroke-width:2;stroke-linejoin:round}
svg .line.reference{stroke:var(--soft);stroke-width:1;stroke-dasharray:4 4}
svg .line.frauds{stroke:var(--frauds);stroke-width:1.3}
svg .dot{fill:var(--series);stroke:var(--card);stroke-width:1.5}
svg .dot.hollow{fill:var(--card);stroke:var(--series);stroke-width:2}
svg .whisker{stroke:var(--series);stroke-width:1;opacity:.6}
svg .area.genuine{fill:var(--genuine)}svg .area.fraud{fill:var(--series);fill-opacity:.55;stroke:var(--series);stroke-width:1}
svg .bar{fill:var(--series)}svg .bar.false{fill:var(--false)}
svg .mark{stroke:var(--soft);stroke-dasharray:2 3}
@media print{:root{color-scheme:light}body{font-size:12px}figure,table{break-inside:avoid}}
`.replaceAll('\n', '')
