"""What every floor may use: whole files, sentences, secrets, and the record of a run. Standard library only."""
