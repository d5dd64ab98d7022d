"""Banks that join: who they are, what they are entitled to, what is sent to them and what they send."""
