"""Requests on the edge of HTTP/1.1, as data: the bytes, and what may become of them.

Each case is one POST /transfer, or something that looks nearly like one, under the key NAME. Where
it could hide a second request, that one is there, under the key smuggled-NAME, and must never run.
The rules are those of RFC 9112; where that leaves a choice, ours is the strict one, and
a comment says so.
"""

from tests.support.http_making import (
    SMUGGLED,
    WHOLE,
    L,
    chunk,
    chunked,
    expect,
    post,
    refuse,
    sized,
    take,
)

# -- Content-Length (RFC 9112, 6.2 and 6.3) --------------------------------------------------------

for _name, _values in {
    "cl-dup-diff": (b"%d" % L, b"5"),
    "cl-dup-diff-rev": (b"5", b"%d" % L),
    "cl-dup-same": (b"%d" % L, b"%d" % L),  # One might merge the two.
    "cl-list-diff": (b"5, %d" % L,),
    "cl-list-same": (b"%d, %d" % (L, L),),  # One might merge the two.
    "cl-plus": (b"+%d" % L,),
    "cl-minus": (b"-%d" % L,),
    "cl-minus-zero": (b"-0",),
    "cl-hex": (b"0x%x" % L,),
    "cl-underscore": (b"4_2",),
    "cl-space-within": (b"4 2",),
    "cl-fraction": (b"%d.0" % L,),
    "cl-exponent": (b"42e0",),
    "cl-empty": (b"",),
    "cl-unicode-digits": ("４２".encode(),),
    "cl-arabic-digits": ("٤٢".encode(),),
    "cl-vertical-tab": (b"\x0b%d" % L,),
    "cl-form-feed": (b"\x0c%d" % L,),
    "cl-form-feed-after": (b"%d\x0c" % L,),
    "cl-nbsp": ("\u00a0".encode() + b"%d" % L,),
    "cl-nbsp-after": (b"%d" % L + "\u00a0".encode(),),
    "cl-nbsp-latin-1": (b"\xa0%d" % L,),
    "cl-next-line": ("\u0085".encode() + b"%d" % L,),
}.items():
    refuse(_name, sized(*(b"Content-Length: " + value for value in _values)))

for _name, _number in {
    "cl-2^32+L": b"%d" % ((1 << 32) + L),
    "cl-2^64+L": b"%d" % ((1 << 64) + L),
    "cl-400-digits": b"9" * 400,
    "cl-5000-digits": b"9" * 5000,
}.items():
    refuse(_name, sized(b"Content-Length: " + _number), 413, 400)

take("cl-leading-zeros", sized(b"Content-Length: 000%d" % L))
take("cl-tab-before", sized(b"Content-Length:\t%d" % L))
take("cl-space-after", sized(b"Content-Length: %d \t" % L))
take("cl-no-space", sized(b"Content-Length:%d" % L))
take("cl-case", sized(b"cOnTeNt-LeNgTh: %d" % L))
expect("cl-zero", post(body=b""), 400, closes=False)
# A length of 0 would do as well, but what follows might be meant as the body.
refuse("post-no-length", sized(body=b""), 411)
refuse("post-no-length-body", sized(), 411)
refuse("post-no-length-no-type", sized(body=b"", kind=b""), 411)
refuse("post-no-length-http10", sized(start=b"POST /transfer HTTP/1.0"), 411)
refuse("patch-no-length", sized(start=b"PATCH /accounts/acct-0 HTTP/1.1", body=b""), 411)
refuse("put-no-length", sized(start=b"PUT /admin/chaos HTTP/1.1", body=b""), 411)

# -- Transfer-Encoding (RFC 9112, 6.1 and 6.3) -----------------------------------------------------

_LENGTH = b"Content-Length: %d" % len(WHOLE)
_SHORT = b"Content-Length: %d" % len(chunk())
_TE = b"Transfer-Encoding: chunked"
for _name, _lines in {
    "te+cl": (_TE, _LENGTH),
    "cl+te": (_LENGTH, _TE),
    "te+cl-short": (_TE, _SHORT),
    "cl+te-short": (_SHORT, _TE),
    "te-twice": (_TE, _TE),
    "te-twice-other": (_TE, b"Transfer-Encoding: identity"),
    "te-gzip-chunked": (b"Transfer-Encoding: gzip, chunked",),
    "te-chunked-gzip": (b"Transfer-Encoding: chunked, gzip",),
    "te-chunked-chunked": (b"Transfer-Encoding: chunked, chunked",),
    "te-identity": (b"Transfer-Encoding: identity",),
    "te-unknown": (b"Transfer-Encoding: xchunked",),
    "te-empty": (b"Transfer-Encoding:",),
    "te-quoted": (b'Transfer-Encoding: "chunked"',),
    "te-parameter": (b"Transfer-Encoding: chunked;a=b",),
    "te-vertical-tab": (b"Transfer-Encoding: \x0bchunked",),
    "te-form-feed-after": (b"Transfer-Encoding: chunked\x0c",),
    "te-nbsp": (b"Transfer-Encoding: \xc2\xa0chunked",),
    "te-underscore+cl": (b"Transfer-Encoding : chunked", _LENGTH),
    "te-space-before-colon": (b"Transfer-Encoding : chunked",),
    "te-tab-before-colon": (b"Transfer-Encoding\t: chunked",),
    "te-fold": (b"Transfer-Encoding:\r\n chunked",),
    "te-behind-fold": (b"X: a\r\n Transfer-Encoding: chunked",),
    "te-behind-bare-lf": (b"X: a\nTransfer-Encoding: chunked",),
    "te-behind-bare-cr": (b"X: a\rTransfer-Encoding: chunked",),
}.items():
    refuse(_name, sized(*_lines, body=WHOLE))
_OLD = b"POST /transfer HTTP/1.0"
refuse("te-http10", chunked(WHOLE, start=_OLD))
refuse("te-http10-keep-alive", chunked(WHOLE, b"Connection: keep-alive", start=_OLD))
take("te-case", chunked(WHOLE, coding=b"cHUNKED"), ours=True)
take("te-space-after", chunked(WHOLE, coding=b"chunked \t"), ours=True)
take("te-chunked", chunked(WHOLE))
take("te-tab", sized(b"transfer-encoding:\tchunked", body=WHOLE))

# -- header lines (RFC 9112, 2.2, 5.1, 5.2; RFC 9110, 5.5, 5.6.2) ----------------------------------

for _name, _line in {
    "space-before-colon": b"X : a",
    "tab-before-colon": b"X\t: a",
    "fold": b"X: a\r\n b",
    "fold-tab": b"X: a\r\n\tb",
    "fold-with-colon": b"X: a\r\n b: c",
    "fold-empty": b"X: a\r\n ",
    "bare-lf": b"X: a\nY: b",
    "bare-lf-in-value": b"X: a\nb",
    "bare-lf-before-crlf": b"X: a\n",
    "bare-cr-in-value": b"X: a\rb",
    "bare-cr-before-crlf": b"X: a\r",
    "bare-cr-in-name": b"X\rY: a",
    "nul-in-value": b"X: a\0b",
    "nul-in-name": b"X\0Y: a",
    "control-in-value": b"X: a\x01b",
    "escape-in-value": b"X: \x1b[2J",
    "delete-in-value": b"X: a\x7fb",
    "name-empty": b": a",
    "name-of-space": b" : a",
    "name-with-parentheses": b"X(A): a",
    "name-with-quotes": b'"X": a',
    "name-with-slash": b"X/Y: a",
    "name-not-ascii": "Ü: a".encode(),
    "name-with-space": b"X Y: a",
    "name-no-colon": b"X",
    "name-no-colon-fold": b" X",
    "nel-in-name": b"X\xc2\x85: a",
}.items():
    refuse(_name, post(_line))
for _name, _line in {
    "cl-space-before-colon": b"Content-Length : %d" % L,
    "cl-tab-before-colon": b"Content-Length\t: %d" % L,
    "cl-fold": b"Content-Length:\r\n %d" % L,
    "cl-behind-fold": b"X: a\r\n Content-Length: %d" % L,
    "cl-behind-bare-lf": b"X: a\nContent-Length: %d" % L,
    "cl-behind-bare-cr": b"X: a\rContent-Length: %d" % L,
}.items():
    refuse(_name, sized(_line))
    refuse(f"{_name}-get", sized(_line, start=b"GET /healthz HTTP/1.1"))
refuse("space-before-first-header", post(host=b" Host: x\r\n"))
refuse("fold-before-first-header", post(host=b" X: a\r\nHost: x\r\n"))
refuse("bare-lf-everywhere", post().replace(b"\r\n", b"\n"))
refuse("bare-lf-at-the-end", post().replace(b"\r\n\r\n", b"\n\n"))
refuse("bare-lf-as-empty-line", post().replace(b"\r\n\r\n", b"\r\n\n"))
refuse("bare-lf-after-request-line", post().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\n"))
refuse("bare-cr-everywhere", post().replace(b"\r\n", b"\r"))
refuse("cr-cr-lf", post().replace(b"\r\n\r\n", b"\r\r\n\r\n"))
take("value-with-tab", post(b"X: a\tb"))
take("value-empty", post(b"X:"))
take("value-of-spaces", post(b"X:   "))
# Text beyond ASCII is obsolete in values (RFC 9110, 5.5), and refused where they mean something.
for _name, _line in {
    "latin-1": b"X: \xfc",
    "utf-8": "X: ü".encode(),
    "nbsp": b"X: \xa0",
    "next-line": b"X: \x85",
    "user-agent": "User-Agent: Müller/1.0".encode(),
    "referer": b"Referer: http://x/\xff",
}.items():
    take(f"value-{_name}", post(_line))
for _name, _line in {
    "accept": b"Accept: \xfc",
    "connection": b"Connection: keep-alive, \xfc",
    "expect": b"Expect: \xfc",
    "encoding": b"Content-Encoding: \xa0",
    "trace": b"Traceparent: \xfc",
    "origin": "Origin: http://ü".encode(),
}.items():
    refuse(f"value-not-ascii-{_name}", post(_line))
refuse("value-not-ascii-type", post(kind=b"Content-Type: application/json\xa0\r\n"))
take("name-with-underscore", post(b"X_Y: a"))
take("name-of-token-signs", post(b"!#$%&'*+-.^_`|~0: a"))

# -- Host (RFC 9112, 3.2) --------------------------------------------------------------------------

for _name, _host in {
    "host-missing": b"",
    "host-twice": b"Host: x\r\nHost: y\r\n",
    "host-twice-same": b"Host: x\r\nHost: x\r\n",
    "host-twice-apart": b"Host: x\r\nX: a\r\nhost: x\r\n",
    "host-empty": b"Host:\r\n",
    "host-list": b"Host: x, y\r\n",
    "host-space": b"Host: a b\r\n",
    "host-path": b"Host: a/c\r\n",
    "host-user": b"Host: a@d\r\n",
    "host-all": b"Host: a b/c@d\r\n",
    "host-two-ports": b"Host: a:1:2\r\n",
    "host-port-alone": b"Host: :80\r\n",
    "host-port-no-number": b"Host: a:b\r\n",
    "host-bracket": b"Host: [::1\r\n",
    "host-bare-ipv6": b"Host: ::1\r\n",
    "host-query": b"Host: a?b\r\n",
    "host-not-ascii": "Host: ü\r\n".encode(),
}.items():
    refuse(_name, post(host=_host))
take("host-case", post(host=b"Host: LocalHost\r\n"))
take("host-below", post(host=b"Host: ledger.localhost:8000\r\n"))
take("host-dot", post(host=b"Host: localhost.\r\n"))
take("host-space-after", post(host=b"Host: localhost \t\r\n"))
take("host-ipv4-other", post(host=b"Host: 127.1.2.3:1\r\n"))
take("host-ipv6-mapped", post(host=b"Host: [::ffff:127.0.0.1]\r\n"))
take("host-port", post(host=b"Host: localhost:8000\r\n"))
take("host-ipv6", post(host=b"Host: [::1]:8000\r\n"))
take("host-ipv4", post(host=b"Host: 127.0.0.1\r\n"))
take("host-last", post(b"hOsT: localhost", host=b""))
take("host-missing-http10", post(host=b"", start=_OLD), closes=True)
refuse("host-twice-http10", post(host=b"Host: x\r\nHost: y\r\n", start=_OLD))

# -- the request line (RFC 9112, 3) ----------------------------------------------------------------

for _name, _line in {
    "version-1.2": b"POST /transfer HTTP/1.2",
    "version-2.0": b"POST /transfer HTTP/2.0",
    "version-1.10": b"POST /transfer HTTP/1.10",
    "version-1": b"POST /transfer HTTP/1",
    "version-lower": b"POST /transfer http/1.1",
    "version-0.9": b"POST /transfer",
    "version-other": b"POST /transfer HTTPS/1.1",
    "version-not-ascii": "POST /transfer HTTP/1.１".encode(),
    "line-two-spaces": b"POST  /transfer HTTP/1.1",
    "line-two-spaces-behind": b"POST /transfer  HTTP/1.1",
    "line-tab": b"POST\t/transfer HTTP/1.1",
    "line-space-at-the-end": b"POST /transfer HTTP/1.1 ",
    "line-space-at-the-start": b" POST /transfer HTTP/1.1",
    "line-space-in-target": b"POST /trans fer HTTP/1.1",
    "line-tab-in-target": b"POST /trans\tfer HTTP/1.1",
    "line-nul-in-target": b"POST /transfer\0 HTTP/1.1",
    "line-no-target": b"POST HTTP/1.1",
    "method-bad-token": b"PO(ST /transfer HTTP/1.1",
    "method-not-ascii": "PÖST /transfer HTTP/1.1".encode(),
    "method-with-colon": b"POST: /transfer HTTP/1.1",
    "target-fragment": b"POST /transfer#x HTTP/1.1",
    "target-query-fragment": b"POST /transfer?a#x HTTP/1.1",
    "target-not-ascii": "POST /tränsfer HTTP/1.1".encode(),
    "target-latin-1": b"POST /transfer\xa0 HTTP/1.1",
}.items():
    refuse(_name, post(start=_line))
refuse("h2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
refuse("tls-hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(64)))
for _name, _line in {
    "method-lower": b"post /transfer HTTP/1.1",
    "method-unknown": b"BREW /transfer HTTP/1.1",
    "target-star": b"POST * HTTP/1.1",
    "target-authority": b"CONNECT localhost:8000 HTTP/1.1",
    "target-parent": b"POST /a/../transfer HTTP/1.1",
    "target-slashes": b"POST //transfer HTTP/1.1",
    "target-no-slash": b"POST transfer HTTP/1.1",
}.items():
    expect(_name, post(start=_line), 400, 404, 405, 501, closes=None)
# Who asks for something that is not done must not have the rest done.
for _name, _query in {
    "x": b"x=1",
    "dry-run": b"dry_run=true",
    "name-alone": b"dry_run",
    "key": b"idempotency_key=NAME",
    "twice": b"x=1&x=2",
    "escaped": b"%64ry_run=1",
    "value-alone": b"=1",
}.items():
    expect(f"query-{_name}", post(start=b"POST /transfer?%s HTTP/1.1" % _query), 400, closes=False)
take("query-empty", post(start=b"POST /transfer? HTTP/1.1"))
expect("target-slash", post(start=b"POST /transfer/ HTTP/1.1"), 404, closes=False)
expect("target-slash-query", post(start=b"POST /transfer/?x=1 HTTP/1.1"), 404, closes=False)
take("target-absolute", post(start=b"POST http://localhost/transfer HTTP/1.1"))
take("target-absolute-other-host", post(start=b"POST http://127.0.0.1:8/transfer HTTP/1.1"))
expect(
    "target-absolute-strange-host",
    post(start=b"POST http://ledger.example/transfer HTTP/1.1"),
    421,
    closes=False,
)
expect(
    "target-absolute-strange-user",
    post(start=b"POST http://localhost@ledger.example/transfer HTTP/1.1"),
    *(400, 421),
    closes=None,
)
# Whether %74 is a t is the router's to say; both ways must say the same (test_differential.py).
expect("target-percent", post(start=b"POST /%74ransfer HTTP/1.1"), 201, 404, closes=None)
refuse("target-9-kb", post(start=b"POST /%s HTTP/1.1" % (b"x" * 9216)), 414, ours=True)
refuse("line-endless", b"POST /transfer?" + b"x" * 20000, 414, ours=True)
refuse("header-9-kb", post(b"X: " + b"x" * 9216), 431, ours=True)
refuse("headers-2000", post(*[b"X: a"] * 2000), 431, ours=True)
# Clients of old send one after a body (RFC 9112, 2.2).
take("empty-line-before", b"\r\n" + post(), ours=True)
take("empty-lines-before", b"\r\n" * 3 + post(), ours=True)
take("empty-line-before-chunked", b"\r\n" + chunked(WHOLE), ours=True)
take("empty-line-after", post() + b"\r\n", ours=True)
take("empty-line-after-chunked", chunked(WHOLE) + b"\r\n", ours=True)
refuse("empty-line-bare-lf", b"\n" + post())
refuse("empty-line-bare-cr", b"\r" + post())
refuse("empty-line-of-space", b" \r\n" + post())

# -- what changes the connection -------------------------------------------------------------------

take("expect-continue", post(b"Expect: 100-continue"))
take("expect-continue-case", post(b"Expect: 100-Continue"))
take("expect-continue-chunked", chunked(WHOLE, b"Expect: 100-continue"))
expect("expect-other", post(b"Expect: 200-ok") + SMUGGLED, 417, closes=True)
take("expect-http10", post(b"Expect: 100-continue", start=_OLD), closes=True, ours=True)
take("expect-other-http10", post(b"Expect: 200-ok", start=_OLD), closes=True, ours=True)
for _name, _value in {
    "close": b"close",
    "close-case": b"Close",
    "close-list": b"foo, Close",
    "close-last": b"keep-alive ,\tclose",
}.items():
    take(f"connection-{_name}", post(b"Connection: " + _value) + SMUGGLED, closes=True, ours=True)
_CLOSE = (b"Connection: keep-alive", b"Connection: close")
take("connection-close-apart", post(*_CLOSE) + SMUGGLED, closes=True, ours=True)
take("connection-keep-alive", post(b"Connection: keep-alive"))
take("connection-keep-alive-case", post(b"connection: Keep-Alive"))
take("connection-list", post(b"Connection: keep-alive, TE", b"TE: trailers"), ours=True)
take("connection-other", post(b"Connection: x-hop", b"X-Hop: a"), ours=True)
take("connection-like-close", post(b"Connection: closed"), ours=True)
take("http10", post(start=_OLD) + SMUGGLED, closes=True)
take("http10-keep-alive", post(b"Connection: keep-alive", start=_OLD))
take("http10-keep-alive-list", post(b"Connection: TE, Keep-Alive", start=_OLD), ours=True)
take("upgrade-h2c", post(b"Upgrade: h2c", b"Connection: Upgrade"), ours=True)
take("upgrade-websocket", post(b"Upgrade: websocket", b"Connection: Upgrade"), ours=True)

# -- what the application says of heads ------------------------------------------------------------

expect("key-twice", post(b"Idempotency-Key: other"), 400, closes=False)
expect("key-empty", post().replace(b"NAME", b""), 400, closes=False)
expect("key-too-long", post().replace(b"NAME", b"k" * 256), 400, closes=False)
expect("key-missing", post().replace(b"Idempotency-Key: NAME\r\n", b""), 400, closes=False)
refuse("key-not-ascii", post().replace(b"NAME", "ü".encode()))
expect("type-twice", post(b"Content-Type: application/json"), 400, closes=False)
take("type-case", post(kind=b"cOnTeNt-TyPe: Application/JSON\r\n"))
take("type-charset", post(kind=b"Content-Type: application/json; charset=utf-8\r\n"))
take("plain", post())

# -- who sends, and how long it waits --------------------------------------------------------------

# These servers have no keys, so a token is not looked at; but two of them are never one.
for _name, _lines in {
    "token-bearer": (b"Authorization: Bearer abc",),
    "token-bearer-case": (b"aUTHORIZATION: bEARER abc",),
    "token-header": (b"X-API-Key: abc",),
    "token-header-case": (b"x-api-key: abc",),
    "token-no-space": (b"X-API-Key:abc",),
    "token-spaces-before": (b"X-API-Key:   abc",),
    "token-tab-before": (b"X-API-Key:\tabc",),
    "token-space-after": (b"X-API-Key: abc \t",),
    "token-spaces-within": (b"Authorization: Bearer   abc",),
    "token-tab-within": (b"Authorization: Bearer\tabc",),
    "token-other-scheme": (b"Authorization: Basic YTpi",),
    "token-no-scheme": (b"Authorization: abc",),
    "token-quoted": (b'Authorization: Bearer "abc"',),
    "token-empty": (b"X-API-Key:",),
    "token-long": (b"X-API-Key: " + b"k" * 255,),
    "token-longer": (b"X-API-Key: " + b"k" * 256,),
    "timeout": (b"X-Request-Timeout-Ms: 60000",),
    "timeout-case": (b"x-request-timeout-ms: 60000",),
    "timeout-no-space": (b"X-Request-Timeout-Ms:60000",),
    "timeout-spaces": (b"X-Request-Timeout-Ms:  60000 \t",),
    "timeout-tab": (b"X-Request-Timeout-Ms:\t60000",),
    "timeout-zeros": (b"X-Request-Timeout-Ms: 00060000",),
    "timeout-longest": (b"X-Request-Timeout-Ms: 99999999",),
    "token-and-timeout": (b"X-API-Key: abc", b"X-Request-Timeout-Ms: 60000"),
}.items():
    take(_name, post(*_lines))
for _name, _lines in {
    "token-twice": (b"X-API-Key: abc", b"X-API-Key: abc"),
    "token-twice-bearer": (b"Authorization: Bearer a", b"Authorization: Bearer b"),
    "token-both": (b"X-API-Key: abc", b"Authorization: Bearer abc"),
}.items():
    expect(_name, post(*_lines), 401, closes=False)
for _name, _lines in {
    "timeout-zero": (b"X-Request-Timeout-Ms: 0",),
    "timeout-minus": (b"X-Request-Timeout-Ms: -1",),
    "timeout-plus": (b"X-Request-Timeout-Ms: +1",),
    "timeout-exponent": (b"X-Request-Timeout-Ms: 1e3",),
    "timeout-empty": (b"X-Request-Timeout-Ms:",),
    "timeout-space-within": (b"X-Request-Timeout-Ms: 60 000",),
    "timeout-too-long": (b"X-Request-Timeout-Ms: 100000000",),
    "timeout-twice": (b"X-Request-Timeout-Ms: 9999", b"X-Request-Timeout-Ms: 9999"),
}.items():
    expect(_name, post(*_lines), 400, closes=False)
refuse("token-folded", post(b"Authorization: Bearer\r\n abc"))
refuse("timeout-unicode-digits", post(b"X-Request-Timeout-Ms: " + "６".encode()))
refuse("token-not-ascii", post(b"X-API-Key: " + "ü".encode()))
refuse("token-control", post(b"X-API-Key: a\x01bc"))
