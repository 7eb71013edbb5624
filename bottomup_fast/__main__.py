"""`python -m bottomup_fast`: the command line."""

from bottomup_fast.cli import main

if __name__ == "__main__":
    main()
