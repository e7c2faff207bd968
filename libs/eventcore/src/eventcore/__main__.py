"""`python -m eventcore` is the operator's tool."""

from .cli import main

if __name__ == "__main__":
    main()
