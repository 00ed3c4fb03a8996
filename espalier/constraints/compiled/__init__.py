"""What guides compile to: engines that follow bytes, and the token masks of each."""
