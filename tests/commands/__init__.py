"""What a user of the command line sees: results, messages, exit codes."""
