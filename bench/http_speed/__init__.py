"""`python -m bench http`: how fast the service is over HTTP, beside a plain handler and others.

One run measures all: closed loop, open loop, many transfers a request, and where the time goes.
"""
