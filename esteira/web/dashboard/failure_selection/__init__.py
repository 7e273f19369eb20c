"""The parts of the page of failures: what was selected, and the round of replays that goes on."""
