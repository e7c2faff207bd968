"""What holds for all tests: hypothesis judges what the code does, not how busy the machine is."""

from hypothesis import HealthCheck, settings

settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
