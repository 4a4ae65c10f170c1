"""What a node takes from the machine it runs on: private folders, limits, signals. Knows no Ray."""
