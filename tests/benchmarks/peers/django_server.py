"""Django on gunicorn, in one process with threads, bare or with its sessions; serves until its standard input ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.urls import path
from gunicorn.app.base import BaseApplication

from .data import DATA, LIFETIME, visits

_BACKENDS = {
    "memory": "django.core.cache.backends.locmem.LocMemCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
}


def application(store: str, url: str) -> WSGIHandler:
    """Return the application; ``store`` is ``bare``, ``memory`` or ``redis``."""
    options: dict[str, Any] = {}
    if store != "bare":
        options = {
            "MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"],
            "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
            "SESSION_COOKIE_AGE": LIFETIME,
            "CACHES": {"default": {"BACKEND": _BACKENDS[store], "LOCATION": url}},
        }
    settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="-" * 50, USE_I18N=False, **options)
    django.setup()
    return WSGIHandler()


def _untouched(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok")


def _start(request: HttpRequest) -> HttpResponse:
    if hasattr(request, "session"):
        request.session.update(DATA)
    return HttpResponse("ok")


def _read(request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok" if request.session.get("user") == DATA["user"] else "lost")


def _write(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = next(visits)
    return HttpResponse("ok")


def _cpu(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{time.process_time_ns()}")


urlpatterns = [
    path("untouched", _untouched),
    path("start", _start),
    path("read", _read),
    path("write", _write),
    path("cpu", _cpu),
]


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, app: WSGIHandler) -> None:
        self._app = app
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": "127.0.0.1:0",
            "worker_class": "gthread",
            "threads": 4,
            "keepalive": 60,
            "loglevel": "error",
            "graceful_timeout": 1,
            "when_ready": lambda server: print(server.LISTENERS[0].sock.getsockname()[1], flush=True),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIHandler:
        return self._app


def _end_with_standard_input() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    server = _Server(application(sys.argv[1], sys.argv[2]))
    threading.Thread(target=_end_with_standard_input, daemon=True).start()
    server.run()
