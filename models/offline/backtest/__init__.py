"""Backtests: what the flow would have recommended, judged by what people did next."""
