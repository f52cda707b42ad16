"""The course of a campaign's runs: what is done, running, failed and to come, and why something failed."""
