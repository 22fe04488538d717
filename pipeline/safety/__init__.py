"""What may not be spoken: rules for the text of scripts."""
