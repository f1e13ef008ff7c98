"""What the pages of others can have a browser send: more cases in the form of http_cases.py.

Each is what could move money without a key, and must not.
"""

from tests.support.http_making import WHOLE, chunked, expect, post, take

# -- names that may have come to mean this machine -------------------------------------------------

for _name, _host in {
    "name": b"ledger.example",
    "name-port": b"ledger.example:8000",
    "name-like-ours": b"localhost.example",
    "name-behind-ours": b"notlocalhost",
    "address": b"192.0.2.1",
    "address-any": b"0.0.0.0",
    "address-like-ours": b"127.0.0.1.example",
    "address-short": b"127.1",
    "address-as-number": b"2130706433",
    "ipv6": b"[2001:db8::1]:8000",
    "ipv6-any": b"[::]",
}.items():
    _line = b"Host: " + _host + b"\r\n"
    expect(f"host-strange-{_name}", post(host=_line), 421, closes=False)
    expect(f"host-strange-{_name}-chunked", chunked(WHOLE, host=_line), 421, closes=False)
    expect(
        f"host-strange-{_name}-get",
        b"GET /accounts/acct-0 HTTP/1.1\r\n" + _line + b"\r\n",
        421,
        closes=False,
    )

# -- bodies that need no leave ---------------------------------------------------------------------

# A page of anybody may have a browser send what says nothing, or one of three types (Fetch, 2.2.2).
for _name, _kind in {
    "missing": b"",
    "empty": b"Content-Type:\r\n",
    "text": b"Content-Type: text/plain\r\n",
    "text-with-json": b"Content-Type: text/plain; application/json\r\n",
    "list": b"Content-Type: text/plain, application/json\r\n",
    "form": b"Content-Type: application/x-www-form-urlencoded\r\n",
    "parts": b"Content-Type: multipart/form-data; boundary=x\r\n",
    "suffix": b"Content-Type: application/problem+json\r\n",
    "start": b"Content-Type: application/jsonx\r\n",
}.items():
    expect(f"type-{_name}", post(kind=_kind), 415, closes=False)
    expect(f"type-{_name}-chunked", chunked(WHOLE, kind=_kind), 415, closes=False)

# -- whose page asks for it ------------------------------------------------------------------------

# Browsers tell the origin of a page (RFC 6454, 7), and whether that is ours (Fetch Metadata, 2.3).
for _name, _lines in {
    "other-port": (b"Origin: http://localhost:81",),
    "other-host": (b"Origin: http://127.0.0.1",),
    "other-scheme": (b"Origin: https://localhost",),
    "strange": (b"Origin: http://ledger.example",),
    "longer": (b"Origin: http://localhost.example",),
    "null": (b"Origin: null",),
    "empty": (b"Origin:",),
    "path": (b"Origin: http://localhost/",),
    "no-scheme": (b"Origin: localhost",),
    "twice": (b"Origin: http://localhost", b"Origin: http://ledger.example"),
    "cross-site": (b"Sec-Fetch-Site: cross-site",),
    "same-site": (b"Sec-Fetch-Site: same-site",),
    "unknown-site": (b"Sec-Fetch-Site: x",),
    "empty-site": (b"Sec-Fetch-Site:",),
    "both": (b"Origin: http://localhost", b"Sec-Fetch-Site: cross-site"),
    "two-sites": (b"Sec-Fetch-Site: same-origin", b"Sec-Fetch-Site: cross-site"),
    "none-of-ours": (b"Origin: http://ledger.example", b"Sec-Fetch-Site: none"),
}.items():
    expect(f"origin-{_name}", post(*_lines), 403, closes=False)
    expect(f"origin-{_name}-chunked", chunked(WHOLE, *_lines), 403, closes=False)
for _name, _host, _lines in (
    ("own", b"localhost", (b"Origin: http://localhost",)),
    ("own-port", b"localhost:8000", (b"origin: http://localhost:8000",)),
    ("own-port-told", b"localhost:80", (b"Origin: http://localhost",)),
    ("own-ipv6", b"[::1]:8000", (b"Origin: http://[::1]:8000",)),
    ("own-case", b"LOCALHOST", (b"Origin: HTTP://localhost",)),
    ("own-site", b"localhost", (b"Origin: http://localhost", b"Sec-Fetch-Site: same-origin")),
    ("no-site", b"localhost", (b"Sec-Fetch-Site: none", b"Sec-Fetch-Mode: navigate")),
):
    take(f"origin-{_name}", post(*_lines, host=b"Host: " + _host + b"\r\n"))

# -- what would have to be decoded -----------------------------------------------------------------

for _name, _value in {
    "gzip": b"gzip",
    "case": b"GZip",
    "list": b"identity, br",
    "aws": b"aws-chunked",
    "quoted": b'"identity"',
}.items():
    expect(f"encoding-{_name}", post(b"Content-Encoding: " + _value), 415, closes=False)
take("encoding-identity", post(b"Content-Encoding: Identity"))
take("encoding-empty", post(b"Content-Encoding:"))
