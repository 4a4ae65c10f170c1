"""The vocabulary that actors pass to each other. Imports no other room."""
