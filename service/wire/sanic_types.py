"""Sanic's types, whatever an app and its requests carry: every room calls them by these names."""

from typing import Any

from sanic import Request, Sanic

App = Sanic[Any, Any]
AnyRequest = Request[Any, Any]
