"""The page at /debug/pprof/: what there is, and what each costs a server under load.

This module owns the page, which needs nothing but itself. The costs were measured on a small
machine, whose two processors the profiler shared with the server and its load.
"""

_ENTRIES = (
    (
        "Processor time",
        (
            "Where all threads spend it, in Python and native code; waiting for the disk counts as"
            " well. Meanwhile up to a fifth of the throughput is lost at 50 Hz, or where py-spy may"
            " not look and Python samples itself; up to two fifths at 100 Hz."
        ),
        (
            ("10 s, flame graph", "profile?seconds=10&format=svg"),
            ("10 s, collapsed stacks", "profile?seconds=10&format=collapsed"),
            ("30 s, for go tool pprof", "profile?seconds=30"),
        ),
    ),
    (
        "Memory",
        (
            "The figures cost a few milliseconds. A window shows what is allocated within it and"
            " still held; it costs a twentieth of the throughput, and up to a third where much is"
            " allocated."
        ),
        (
            ("figures", "heap"),
            ("10 s, flame graph", "heap?seconds=10&format=svg"),
            ("10 s, for go tool pprof", "heap?seconds=10"),
        ),
    ),
    (
        "Threads and tasks",
        (
            "What every thread does and every asyncio task waits for, at this moment. Costs"
            " milliseconds; with thousands of connections, some tens of them."
        ),
        (
            ("text", "threads"),
            ("alike stacks with their counts", "threads?debug=1"),
            ("for go tool pprof", "goroutine"),
        ),
    ),
    ("The process", "Its arguments. Costs nothing.", (("cmdline", "cmdline"),)),
)


def _write_entry(title: str, text: str, links: tuple[tuple[str, str], ...]) -> str:
    items = "".join(
        f'<li><a href="/debug/pprof/{target.replace("&", "&amp;")}">{name}</a></li>'
        for name, target in links
    )
    return f"<section><h2>{title}</h2><p>{text}</p><ul>{items}</ul></section>"


PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""What a browser may load for the page and the pictures: nothing but their own style."""

PAGE = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>ledgercore: profiles</title>
<style>
:root {{ color-scheme: light dark; --ink: #1b2733; --soft: #5b6b7a; --line: #dbe2e8;
  --link: #1f66b8; --back: #f6f8fa; --card: #fff; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #e4eaf0; --soft: #9fb0bf; --line: #2c3946;
  --link: #7db5f2; --back: #11181f; --card: #18222c; }} }}
body {{ margin: 0 auto; max-width: 44rem; padding: 1rem; background: var(--back);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.4rem; margin: .5rem 0; }}
h2 {{ font-size: 1.05rem; margin: 0; }}
p {{ margin: .3rem 0; color: var(--soft); }}
section {{ background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  margin: .8rem 0; padding: .8rem 1rem; }}
ul {{ display: flex; flex-wrap: wrap; gap: .5rem; list-style: none; margin: .6rem 0 0;
  padding: 0; }}
a {{ display: block; color: var(--link); border: 1px solid var(--line); border-radius: .4rem;
  padding: .45rem .7rem; text-decoration: none; }}
a:hover, a:focus-visible {{ border-color: var(--link); }}
code {{ overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Profiles</h1>
<p>One profile is taken at a time, of at most 55 seconds; whoever hangs up ends it.</p>
{"".join(_write_entry(*entry) for entry in _ENTRIES)}
<p>Formats: <code>format=pprof</code>, <code>svg</code>, <code>collapsed</code>, of threads also
<code>text</code>; <code>hz=1…100</code> for processor time. The header <code>X-Profiler</code> says
who looked: py-spy, or Python itself where py-spy is not
installed or may not trace, and why.</p>
</body>
</html>
"""
