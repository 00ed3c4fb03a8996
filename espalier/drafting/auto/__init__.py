"""The default drafter: candidates from everything seen, in drafts as large as they pay."""
