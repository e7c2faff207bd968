"""The whole system on one command: `make demo` replays orders through it and checks the outcome, `make up` stays up."""
