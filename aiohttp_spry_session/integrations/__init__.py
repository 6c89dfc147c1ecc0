"""What joins sessions to other packages; nothing else imports it."""
