"""`python -m bunchtrain`."""

from bunchtrain.cli import main

main()
