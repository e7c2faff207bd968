"""`python -m eventcore` is the operator's tool."""

from .cli import main

main()
