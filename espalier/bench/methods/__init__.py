"""The comparison of decoding methods: tasks, scores, claims of single methods."""
