"""Sanic's types of apps and requests, by the names that the whole service uses."""

from typing import Any

from sanic import Request, Sanic

App = Sanic[Any, Any]
AnyRequest = Request[Any, Any]
