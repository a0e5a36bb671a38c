"""Readers of the forms that a dataset can have: names, folders, tables, tar shards, published sets."""
