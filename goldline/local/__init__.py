"""One machine in the cloud's place: the servers that Google's clients talk to, and the runner of the compiled spec."""
