"""What a server costs: clients in a process of their own, against it and its peers in turn."""
