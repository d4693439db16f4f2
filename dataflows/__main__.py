"""`python -m dataflows`: the command line without its script."""

from dataflows.cli import main

main()
