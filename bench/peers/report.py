"""Table (stdout), report.json and report.svg of the results in DIR: medians, and the range over the runs.   usage: report.py DIR"""
import collections, glob, json, os, statistics as st, sys

where = sys.argv[1]
runs = collections.defaultdict(list)
for f in sorted(glob.glob(where + "/*-W*.json")):
    runs[os.path.basename(f).rsplit(".", 2)[0]].append(json.load(open(f)))


def middle(rs, key): return st.median(r[key] for r in rs)
def bytes_of(rs, what): return st.median(r["bytes"].get(what, 0) / r["N"] for r in rs)
def cell(rs, key, digits=0):
    v = [r[key] for r in rs]
    return f"{st.median(v):,.{digits}f}" + (f" ({min(v):,.{digits}f}-{max(v):,.{digits}f})" if len(v) > 1 else "")


rows = sorted(runs.items(), key=lambda x: (x[0].split("-")[1], -middle(x[1], "rate")))
head = ["peer, work", "runs", "events", "events/s", "second half", "CPU us/event", "broker CPU us/event", "peak RSS MB", "changelog B/event", "output B/event", "load", "calib ms"]
print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
for name, rs in rows:
    calib = [c for r in rs for c in r["calib_ms"]]
    print(f"| {name.replace('-', ' ')} | {len(rs)} | {rs[0]['N']:,} | {cell(rs, 'rate')} | {cell(rs, 'rate_2nd_half')} | {cell(rs, 'cpu_us', 1)} | {cell(rs, 'broker_cpu_us', 1)} | "
          f"{cell(rs, 'peak_rss_mb')} | {bytes_of(rs, 'changelog'):.0f} | {bytes_of(rs, 'out'):.0f} | {min(r['load_before'] for r in rs):.1f}-{max(r['load_after'] for r in rs):.1f} | {min(calib)}-{max(calib)} |")
json.dump({name: dict(runs=len(rs), events=rs[0]["N"], rate=middle(rs, "rate"), rate_2nd_half=middle(rs, "rate_2nd_half"), cpu_us=middle(rs, "cpu_us"),
                      broker_cpu_us=middle(rs, "broker_cpu_us"), peak_rss_mb=middle(rs, "peak_rss_mb"), changelog_bytes=bytes_of(rs, "changelog"), output_bytes=bytes_of(rs, "out"))
           for name, rs in rows}, open(where + "/report.json", "w"), indent=1)

top = max(max(r["rate"] for r in rs) for _, rs in rows)
scale = 420 / top
lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {46 + 30 * len(rows)}" font-family="system-ui, sans-serif" font-size="13">',
         f'<rect width="700" height="{46 + 30 * len(rows)}" fill="#fff"/><text x="16" y="24" font-weight="600">events/s, exactly once: median and range</text>']
for i, (name, rs) in enumerate(rows):
    y, rates = 40 + 30 * i, [r["rate"] for r in rs]
    ours = name.startswith("harrier")
    lines.append(f'<text x="130" y="{y + 15}" text-anchor="end">{name.replace("-", " ")}</text><rect x="140" y="{y}" width="{st.median(rates) * scale:.1f}" height="20" fill="{"#0f766e" if ours else "#94a3b8"}"/>'
                 f'<path d="M{140 + min(rates) * scale:.1f} {y + 10}H{140 + max(rates) * scale:.1f}" stroke="#1e293b"/><text x="{148 + max(rates) * scale:.1f}" y="{y + 15}">{st.median(rates):,.0f}</text>')
open(where + "/report.svg", "w").write("\n".join(lines) + "\n</svg>\n")
