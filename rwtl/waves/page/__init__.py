"""Pictures, figures and the page of a recording."""
