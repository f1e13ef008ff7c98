"""Load over HTTP/1.1: requests written, sent and timed, and their answers read, each in one place.

`python -m bench.load URL` is the closed loop as a command. What is asked of a server, and what an
answer means, is decided by those who use this package.
"""
