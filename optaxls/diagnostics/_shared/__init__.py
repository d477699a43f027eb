"""Checks, intervals and derivatives that several measurements share."""
