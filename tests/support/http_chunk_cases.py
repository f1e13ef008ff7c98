"""Bodies in chunks that are right, or nearly: more cases in the form of http_cases.py.

Each wrong one has a second request behind it, under the key smuggled-NAME, which must never run.
"""

from tests.support.http_making import BODY, LAST, SMUGGLED, L, chunk, chunked, expect, refuse, take

for _name, _body in {
    "size-0x": chunk(size=b"0x%x" % L),
    "size-space-before": chunk(size=b" %x" % L),
    "size-space-after": chunk(size=b"%x " % L),
    "size-tab": chunk(size=b"\t%x" % L),
    "size-plus": chunk(size=b"+%x" % L),
    "size-minus": chunk(size=b"-1"),
    "size-minus-zero": chunk(size=b"-0"),
    "size-underscore": chunk(size=b"2_a"),
    "size-letters": chunk(size=b"zz"),
    "size-empty": chunk(size=b""),
    "size-unicode": chunk(size="４２".encode()),
    "size-nul": chunk(size=b"%x\0" % L),
    "size-lf": (b"%x\n" % L) + BODY + b"\r\n",
    "size-cr": (b"%x\r" % L) + BODY + b"\r\n",
    "size-17-digits": chunk(size=b"%017x" % L),
    "data-lf": chunk(end=b"\n"),
    "data-cr": chunk(end=b"\r"),
    "data-no-end": chunk(end=b""),
    "data-junk": chunk(end=b"xx"),
    "data-junk-crlf": chunk(end=b"xx\r\n"),
    "data-long": chunk(size=b"%x" % (L - 2)),
    "data-longer": chunk(BODY + b"xx", size=b"%x" % L),
    "data-short": chunk(size=b"%x" % (L + 1)),
    "extension-lf": chunk(size=b"%x;a\nb" % L),
    "extension-cr": chunk(size=b"%x;a\rb" % L),
    "extension-nul": chunk(size=b"%x;a\0" % L),
    "extension-64-kb": chunk(size=b"%x;%s" % (L, b"a" * 65536)),
    "extension-space": chunk(size=b"%x ;a" % L),
    "extensions-many": b"".join(
        chunk(BODY[at : at + 1], size=b"1;" + b"a" * 50) for at in range(L)
    ),
}.items():
    expect(f"chunk-{_name}", chunked(_body + LAST) + SMUGGLED, 400, closes=True, ours=True)
for _name, _size in {
    "2^32": 1 << 32,
    "2^63": 1 << 63,
    "2^64-1": (1 << 64) - 1,
    "2^64": 1 << 64,
}.items():
    refuse(f"chunk-size-{_name}", chunked(chunk(size=b"%x" % _size) + LAST), 413, 400)
for _name, _end in {
    "junk": b"0\r\nxx\r\n\r\n",
    "size-junk": b"0x\r\n\r\n",
    "bare-lf": b"0\r\n\n",
    "bare-lf-twice": b"0\n\n",
    "bare-cr": b"0\r\n\r",
    "space": b"0 \r\n\r\n",
    "no-empty-line": b"0\r\n",
}.items():
    # What follows the last chunk's line would be trailers.
    expect(f"chunk-last-{_name}", chunked(chunk() + _end) + SMUGGLED, 400, closes=True, ours=True)
# Trailers are read and forgotten (RFC 9112, 7.1.2). They must not become headers, or a request.
for _name, _trailer in {
    "plain": b"X: a",
    "many": b"\r\n".join(b"X-%d: a" % number for number in range(100)),
    "empty": b"X:",
    "not-ascii": "X: ü".encode(),
    "length": b"Content-Length: 5",
    "coding": b"Transfer-Encoding: chunked",
    "key": b"Idempotency-Key: smuggled-NAME",
    "close": b"Connection: close",
}.items():
    _body = chunk() + b"0\r\n" + _trailer + b"\r\n\r\n"
    take(f"trailer-{_name}", chunked(_body), ours=True)
    take(f"trailer-{_name}-announced", chunked(_body, b"Trailer: X", b"TE: trailers"), ours=True)
for _name, _trailer in {
    "request": SMUGGLED.partition(b"\r\n\r\n")[0],
    "no-colon": b"X",
    "space-before-colon": b"X : a",
    "fold": b"X: a\r\n b",
    "bare-lf": b"X: a\nY: b",
    "bare-cr": b"X: a\rY: b",
    "control": b"X: \x01",
    "endless": b"X: " + b"a" * 5000,
}.items():
    refuse(f"trailer-{_name}", chunked(chunk() + b"0\r\n" + _trailer + b"\r\n\r\n"))
take("chunk-upper-case", chunked(chunk(size=b"%X" % L) + LAST))
take("chunk-leading-zeros", chunked(chunk(size=b"00%x" % L) + b"000\r\n\r\n"))
take("chunk-one-byte-each", chunked(b"".join(chunk(bytes([byte])) for byte in BODY) + LAST))
take("chunk-extension", chunked(chunk(size=b'%x;a="b"' % L) + b"0;c\r\n\r\n"))
expect("chunk-empty-body", chunked(LAST), 400, closes=False)
