"""`python -m dataflows`: the command line without its script."""

from dataflows.cli.main import main

main()
