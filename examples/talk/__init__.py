"""The claims of M. Schmidt's talk of 2024, each measured by a script of its own."""
