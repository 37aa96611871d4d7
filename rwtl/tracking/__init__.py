"""Where trainings are logged beside their CSV files, and how such logs are read back."""
