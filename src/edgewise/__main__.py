"""`python -m edgewise`: the command line, for starters that want a module."""

from edgewise.cli import main

if __name__ == "__main__":
    main()
