"""The comparison of finished runs: measures, statistics over seeds, tables and the report."""
