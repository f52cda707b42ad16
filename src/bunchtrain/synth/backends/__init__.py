"""What synthesises RTL, one tool chain a module."""
