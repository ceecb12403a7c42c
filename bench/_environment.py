"""Imported first by scripts that time PyTorch, which reads its environment when it is loaded."""

from sixloop.bench.timing import restart_with_environment

restart_with_environment()
