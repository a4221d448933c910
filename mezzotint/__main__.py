"""`python -m mezzotint` is the command line."""

from mezzotint.cli.app import main

if __name__ == "__main__":
    main()
