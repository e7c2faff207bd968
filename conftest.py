"""What all tests share: on a busy machine Hypothesis judges what it finds, not how long that takes."""

from hypothesis import HealthCheck, settings

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
