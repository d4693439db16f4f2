"""What another strategy would have earned on the slates that were drawn as a whole."""
