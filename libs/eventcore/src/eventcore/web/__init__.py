"""HTTP services: endpoints beside consumers, with probes, metrics, correlation and errors as problems, in one call."""

from .api import Answer, Api
from .correlation import correlation_id, current_origin
from .paging import Page
from .problems import FieldError, Problem
from .run import run
from .scopes import Token, token
from .service import STORE
from .service_factory import create_service

__all__ = [
    "STORE",
    "Answer",
    "Api",
    "FieldError",
    "Page",
    "Problem",
    "Token",
    "correlation_id",
    "create_service",
    "current_origin",
    "run",
    "token",
]
