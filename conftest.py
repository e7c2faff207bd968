"""What all tests share: fixtures of eventcore, and a Hypothesis that on a busy machine judges no times."""

from hypothesis import HealthCheck, settings

pytest_plugins = ("eventcore.testing.fixtures",)

settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
