"""The figures themselves: results.json, intervals, and how figures are written."""
