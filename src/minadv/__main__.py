"""`python -m minadv` is the command `minadv`."""

from minadv.cli import main

if __name__ == "__main__":
    main()
