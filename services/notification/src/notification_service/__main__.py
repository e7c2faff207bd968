"""`python -m notification_service`."""

from __future__ import annotations

from eventcore.web import run

from .app import create_app
from .settings import NotificationSettings

if __name__ == "__main__":
    run(create_app, NotificationSettings)
