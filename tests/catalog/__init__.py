"""Tests of the canonical record and its readers; ``material`` has what several of them use."""
