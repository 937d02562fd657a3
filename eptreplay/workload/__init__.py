"""p2m operations: what the records of a trace mean, row by row, in the program order of each pCPU."""
