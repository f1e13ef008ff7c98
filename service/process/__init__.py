"""What the process has from the system: signals, standard streams, descriptors, memory."""
