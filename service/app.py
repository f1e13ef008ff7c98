"""The app: `create_app` joins routes, handlers and lifecycle, and does nothing else.

It is what Sanic's own command takes (`sanic ledgercore.service.app:create_app --factory`), what
its test client takes, and what `ledgercore serve` runs. The process that serves opens the engine; a
process that only manages workers never does.
"""

import sys
from itertools import count
from types import SimpleNamespace
from typing import Any

from sanic import Sanic
from sanic.config import Config
from sanic.exceptions import SanicException

from .access.origins import PROBES, check_origin
from .admission.guard import check_direct, is_guarded
from .http.error_handlers import install_handlers
from .http.protocol import LedgerProtocol
from .http.strict_framing import StrictRequest, check_encoding
from .monitoring.monitor import install_monitor
from .routes.admin_chaos import admin_routes
from .routes.admin_limits import limit_routes
from .routes.docs import docs_routes
from .routes.exact_router import ExactRouter
from .routes.metrics import metrics_routes
from .routes.pages import page_routes
from .routes.profiles import profile_routes
from .routes.transfers import ledger_routes
from .runtime.lifecycle import Lifecycle
from .settings import Settings
from .telemetry.logs import make_log_config
from .wire.base_path import install_base_path
from .wire.paths import check_parameters
from .wire.problems import Problem
from .wire.sanic_types import AnyRequest

BODY_BYTES_MAX = 2 * 1024 * 1024
"""What is read of a body at most. Much above what any request may hold, so that a body of a
megabyte is still answered with the name of its fault."""

_SERVER = {
    "ACCESS_LOG": False,
    "AUTO_EXTEND": False,
    "MOTD": False,
    "REQUEST_MAX_SIZE": BODY_BYTES_MAX,
    "REQUEST_TIMEOUT": 10,
    "RESPONSE_TIMEOUT": 60,
    "GRACEFUL_SHUTDOWN_TIMEOUT": 5.0,
}

_count_app = count(1)


class LedgerApp(Sanic[Config, SimpleNamespace]):
    """An app with the protocol of this service, that forgets no order to stop."""

    def prepare(self, *arguments: Any, **options: Any) -> None:
        """Get ready to serve; by LedgerProtocol, whatever command begins it."""
        options["protocol"] = options.get("protocol") or LedgerProtocol
        super().prepare(*arguments, **options)

    async def handle_request(self, request: AnyRequest) -> None:
        """Answer a request whose head is there, unless that alone is reason to refuse it."""
        try:
            lifecycle: Lifecycle = self.ctx.lifecycle
            is_open = lifecycle.admission.is_open if lifecycle.is_ready else None
            check_origin(request, lifecycle.hosts, is_open)
            if is_open and request.path not in PROBES:
                check_direct(request)
            check_encoding(request.headers)
            if request.query_string:
                self._check_query(request)
        except Problem as problem:
            await self.handle_exception(request, problem)
        else:
            await super().handle_request(request)

    def _check_query(self, request: AnyRequest) -> None:
        """Refuse a query that the address does not take, unless its guard does that."""
        try:
            route, handler, _ = self.router.get(request.path, request.method, None)
        except SanicException:
            return  # There is no such address, and that is told soon.
        if not is_guarded(handler):
            request.route = route  # By its name it is counted.
            check_parameters(request.query_string, handler)

    def stop(self, terminate: bool = True, unregister: bool = False) -> None:
        """Stop serving, now or as soon as it has begun.

        A signal may come when the port is open already and the loop is still starting. Sanic stops
        that start, which has come to its end anyway, and then serves on for ever.
        """
        if self.ctx.on_stop is not None:
            self.ctx.on_stop()
        elif self.state.is_running:
            super().stop(terminate, unregister)
        else:
            self.ctx.lifecycle.is_stop_wanted = True


def create_app(settings: Settings | None = None) -> LedgerApp:
    """Return an app with these settings, or with those of the environment."""
    # Sanic's command hands its own arguments to a factory that takes any.
    if not isinstance(settings, Settings):
        settings = Settings.from_environment()
    app = LedgerApp(
        _name_app(),
        log_config=make_log_config(sys.stderr.isatty()),
        request_class=StrictRequest,
        router=ExactRouter(),
        strict_slashes=True,
    )
    app.config.update(_SERVER, KEEP_ALIVE_TIMEOUT=settings.keep_alive_s)
    app.blueprint(ledger_routes)
    app.blueprint(admin_routes)
    app.blueprint(limit_routes)
    app.blueprint(metrics_routes)
    app.blueprint(page_routes)
    app.blueprint(docs_routes)
    app.blueprint(profile_routes)
    install_handlers(app)
    lifecycle = Lifecycle(settings)
    install_monitor(app)
    _install_lifecycle(app, lifecycle)
    install_base_path(app, settings.base_path)
    app.register_middleware(lifecycle.observer.finish, "response")
    return app


def _name_app() -> str:
    # Sanic wants every app of a process to have a name of its own, and the first one of a worker
    # process to have the name that it had in the manager.
    number = next(_count_app)
    return "ledgercore" if number == 1 else f"ledgercore-{number}"


def _install_lifecycle(app: LedgerApp, lifecycle: Lifecycle) -> None:
    app.ctx.lifecycle = lifecycle
    app.ctx.on_stop = None  # What stops it, where it is served by another than Sanic.
    app.register_listener(lifecycle.start, "before_server_start")
    app.register_listener(lifecycle.watch, "after_server_start")
    app.register_listener(lifecycle.stop, "before_server_stop")
    app.register_listener(lifecycle.close, "after_server_stop")
