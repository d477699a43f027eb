"""Stochastic line searches: one engine, conditions, initial steps, gates, aliases."""
