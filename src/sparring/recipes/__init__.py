"""Recipes: one published method a file. A new method is a new file here; recipes never import each other."""
