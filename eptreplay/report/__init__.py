"""What results mean: sums by domain and by cause, differences, a verdict; printed, or as files."""
