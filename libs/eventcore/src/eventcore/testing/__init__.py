"""What tests of services and of the library itself need."""
