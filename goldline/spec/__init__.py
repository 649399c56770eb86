"""Compiled pipeline: its tasks and tables, its checks, its picture, its parameters page."""
