"""Adding and removing Validators while they work."""
